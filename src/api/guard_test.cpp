// SPDX-License-Identifier: Apache-2.0
#include "api/guard.h"

#include <gtest/gtest.h>

namespace plimsoll::api {
namespace {

net::RequestHead head_with(std::vector<net::Header> headers, std::string target = "/api/health") {
    net::RequestHead head;
    head.method = "GET";
    head.target = std::move(target);
    head.headers = std::move(headers);
    return head;
}

int status_of(const std::optional<Answer>& answer) {
    return answer ? answer->status : 200;
}

TEST(Guard, knows_its_own_names_only) {
    for (const std::string_view own : {"localhost", "LOCALHOST:8190", "app.localhost",
                                       "127.0.0.1:8190", "[::1]:8190", "10.0.0.7"})
        EXPECT_TRUE(is_own_host(own, {})) << own;
    for (const std::string_view other : {"", "evil.example", "localhost.evil.example:8190",
                                         "127.0.0.1.evil.example", "[evil]", "1.2.3"})
        EXPECT_FALSE(is_own_host(other, {})) << other;
    EXPECT_TRUE(is_own_host("nas.lan:8190", {"NAS.lan"}));
}

TEST(Guard, wants_one_host_and_no_other_origin) {
    EXPECT_EQ(status_of(check_request(head_with({{"Host", "localhost"}}), {})), 200);
    EXPECT_EQ(status_of(check_request(head_with({}), {})), 403);
    EXPECT_EQ(
        status_of(check_request(head_with({{"Host", "localhost"}, {"Host", "localhost"}}), {})),
        403);
    const auto with_origin = [](std::string origin) {
        return status_of(check_request(
            head_with({{"Host", "localhost:8190"}, {"Origin", std::move(origin)}}), {}));
    };
    EXPECT_EQ(with_origin("http://localhost:8190"), 200);
    EXPECT_EQ(with_origin("http://localhost:8189"), 403);  // another program of this machine
    EXPECT_EQ(with_origin("null"), 403);
}

TEST(Guard, compares_the_whole_secret) {
    EXPECT_TRUE(is_same_secret("0123456789abcdef", "0123456789abcdef"));
    for (const std::string_view wrong :
         {"", "0123456789abcde", "0123456789abcdeF", "0123456789abcdef0", "x123456789abcdef"})
        EXPECT_FALSE(is_same_secret(wrong, "0123456789abcdef")) << wrong;
    EXPECT_FALSE(is_same_secret("", ""));  // an empty secret lets nobody in
}

TEST(Guard, asks_for_the_token_where_the_api_is_and_takes_it_as_a_cookie_once) {
    const GuardRules rules{.token = "0123456789abcdef;=", .hosts = {}};
    EXPECT_EQ(status_of(check_request(head_with({{"Host", "localhost"}}), rules)), 401);
    EXPECT_EQ(status_of(check_request(head_with({{"Host", "localhost"}}, "/"), rules)), 200);
    const auto visit = take_token(head_with({}, "/?token=0123456789abcdef%3B%3D"), rules);
    ASSERT_TRUE(visit.has_value());
    EXPECT_EQ(visit->status, 303);
    EXPECT_EQ(status_of(check_request(
                  head_with({{"Host", "localhost"},
                             {"Cookie", "a=b; plimsoll_token=0123456789abcdef%3B%3D"}}),
                  rules)),
              200);
    EXPECT_EQ(status_of(take_token(head_with({}, "/?token=wrong"), rules)), 401);
}

}  // namespace
}  // namespace plimsoll::api
