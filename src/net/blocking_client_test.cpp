// SPDX-License-Identifier: Apache-2.0
//
// Goal: every way in which a server can misbehave ends in time with an error that says what
// happened. Method: a scripted server on a free port.
#include "net/blocking_client.h"

#include "net/scripted_server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::net {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

HttpCall call_to(std::string target) {
    HttpCall call;
    call.target = std::move(target);
    return call;
}
Endpoint endpoint_of(const ScriptedServer& server) {
    return {"127.0.0.1", server.port()};
}
ScriptedServer::Reply reply_with(std::string body) {
    ScriptedServer::Reply reply;
    reply.body = std::move(body);
    return reply;
}

TEST(CallHttp, sends_method_target_and_body_and_gives_back_status_and_body) {
    const ScriptedServer server([](const auto& request) {
        auto reply = reply_with(request.method + " " + request.target + " " + request.body);
        reply.status = 400;
        return reply;
    });
    const auto reply = call_http(
        endpoint_of(server), {.method = "POST", .target = "/prompt?x=1", .body = "{\"a\": 5.0}"});
    ASSERT_TRUE(reply) << reply.error().message;
    EXPECT_EQ(reply->status, 400);
    EXPECT_EQ(reply->body, "POST /prompt?x=1 {\"a\": 5.0}");
    EXPECT_EQ(reply->content_type, "application/json; charset=utf-8");
}

TEST(CallHttp, a_refused_connection_is_unavailable) {
    int port = 0;
    {
        port = ScriptedServer([](const auto&) { return reply_with(""); }).port();
    }
    const auto reply = call_http({"127.0.0.1", port}, {});
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::Unavailable);
    EXPECT_THAT(reply.error().message, HasSubstr("connection refused"));
}

TEST(CallHttp, a_server_that_never_answers_is_left_at_the_deadline) {
    const ScriptedServer server([](const auto&) {
        ScriptedServer::Reply reply;
        reply.hang = true;
        return reply;
    });
    const auto reply = call_http(endpoint_of(server), {}, {.whole = milliseconds(50)});
    ASSERT_FALSE(reply);
    EXPECT_THAT(reply.error().message, HasSubstr("no answer in time"));
}

TEST(CallHttp, a_cut_connection_a_body_too_large_and_no_http_are_told_apart) {
    const ScriptedServer server([](const auto& request) {
        ScriptedServer::Reply reply;
        if (request.target == "/cut") reply.cut = true;
        if (request.target == "/half")
            reply.raw = "HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc";
        if (request.target == "/large") reply.body = std::string(2000, 'x');
        if (request.target == "/ssh") reply.raw = "SSH-2.0-OpenSSH_9.2\r\n\r\n";
        return reply;
    });
    const auto call = [&](const std::string& target) {
        return call_http(endpoint_of(server), call_to(target), {.body_bytes_max = 1000}).error();
    };
    EXPECT_EQ(call("/cut").code, Errc::Unavailable);
    EXPECT_THAT(call("/half").message, HasSubstr("cut off"));
    EXPECT_EQ(call("/large").code, Errc::LimitExceeded);
    EXPECT_EQ(call("/ssh").code, Errc::Corrupt);
}

TEST(CallHttp, a_name_that_does_not_exist_is_unavailable) {
    const auto reply = call_http({"no-such-host.invalid", 1}, {});
    ASSERT_FALSE(reply);
    EXPECT_EQ(reply.error().code, Errc::Unavailable);
}

TEST(ClientSocket, reads_texts_and_binaries_in_order_and_waits_without_losing_any) {
    ScriptedServer server([](const auto&) { return reply_with(""); },
                          [](const std::string&) {
                              return ScriptedServer::SocketScript{
                                  {{"one", false}, {std::string("\0\1", 2), true}}, false};
                          });
    const auto socket = ClientSocket::open(endpoint_of(server), "/ws?clientId=a").value();
    std::vector<SocketMessage> seen;
    for (int i = 0; i < 200 && seen.size() < 2; ++i)
        if (auto message = socket->read(milliseconds(5)).value()) seen.push_back(*message);
    ASSERT_EQ(seen.size(), 2U);
    EXPECT_EQ(seen[0].bytes, "one");
    EXPECT_FALSE(seen[0].binary);
    EXPECT_EQ(seen[1].bytes, std::string("\0\1", 2));
    EXPECT_TRUE(seen[1].binary);
    EXPECT_FALSE(socket->read(milliseconds(1)).value().has_value());
    socket->close();
    EXPECT_FALSE(socket->read(milliseconds(1)));
}

TEST(ClientSocket, a_dropped_connection_is_an_error_after_the_last_message) {
    ScriptedServer server(
        [](const auto&) { return reply_with(""); },
        [](const std::string&) { return ScriptedServer::SocketScript{{{"last", false}}, true}; });
    const auto socket = ClientSocket::open(endpoint_of(server), "/ws").value();
    EXPECT_EQ(socket->read(milliseconds(2000)).value()->bytes, "last");
    EXPECT_EQ(socket->read(milliseconds(2000)).error().code, Errc::Unavailable);
}

TEST(ClientSocket, a_server_without_websocket_is_an_error) {
    const ScriptedServer server([](const auto&) { return reply_with("<html>"); });
    EXPECT_FALSE(ClientSocket::open(endpoint_of(server), "/ws"));
}

TEST(Endpoint, addresses_with_and_without_port_and_ipv6_are_read_others_refused) {
    EXPECT_EQ(parse_endpoint("http://localhost:8188")->text(), "http://localhost:8188");
    EXPECT_EQ(parse_endpoint("http://host/")->port, 80);
    EXPECT_EQ(parse_endpoint("http://[::1]:9000")->host, "::1");
    EXPECT_EQ(parse_endpoint("http://[::1]:9000")->text(), "http://[::1]:9000");
    for (const auto* const url : {"", "https://x", "http://", "http://a:0", "http://a:99999",
                                  "http://a:b", "http://a/b", "http://u@h", "http://[::1"})
        EXPECT_EQ(parse_endpoint(url).error().code, Errc::InvalidInput) << url;
}

TEST(EncodeComponent, everything_but_unreserved_characters_is_escaped) {
    EXPECT_EQ(encode_component("a b/ü&.png"), "a%20b%2F%C3%BC%26.png");
}

}  // namespace
}  // namespace plimsoll::net
