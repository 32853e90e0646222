// SPDX-License-Identifier: Apache-2.0
//
// Goal: events come out whole whatever the pieces they arrive in, and a stream that ends, refuses
// or never stops is told. Method: the parser fed byte by byte, and a server of ours.
#include "net/event_client.h"

#include "net/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::net {
namespace {

using std::chrono::milliseconds;
using testing::HasSubstr;

std::vector<ServerEvent> events_of(std::string_view bytes, std::size_t piece) {
    EventParser parser;
    std::vector<ServerEvent> events;
    for (std::size_t at = 0; at < bytes.size(); at += piece) {
        EXPECT_TRUE(parser.feed(bytes.substr(at, piece)));
        while (auto event = parser.take()) events.push_back(std::move(*event));
    }
    return events;
}

TEST(EventParser, finds_the_same_events_in_pieces_of_any_size_and_with_any_line_end) {
    for (const std::string_view end : {"\n", "\r\n", "\r"}) {
        std::string text =
            ": hello|retry: 2000||id: a-1|event: job|data: {\"x\":1}||data: one|data:two||id: "
            "a-2|event: empty||data: cut off";
        for (std::size_t at = text.find('|'); at != std::string::npos; at = text.find('|'))
            text.replace(at, 1, end);
        for (const std::size_t piece : {1UL, 2UL, 7UL, 1000UL}) {
            const auto events = events_of(text, piece);
            ASSERT_EQ(events.size(), 2U) << piece;
            EXPECT_EQ(events[0].id, "a-1");
            EXPECT_EQ(events[0].type, "job");
            EXPECT_EQ(events[0].data, "{\"x\":1}");
            EXPECT_EQ(events[1].id, "a-1");  // the newest that there was
            EXPECT_EQ(events[1].type, "message");
            EXPECT_EQ(events[1].data, "one\ntwo");
        }
    }
}

TEST(EventParser, refuses_an_event_without_end) {
    EventParser parser;
    const std::string piece(1U << 20U, 'x');
    EXPECT_TRUE(parser.feed("data: "));
    Result<void> fed;
    for (int i = 0; i < 5 && fed; ++i) fed = parser.feed(piece);
    ASSERT_FALSE(fed);
    EXPECT_EQ(fed.error().code, Errc::LimitExceeded);
}

std::unique_ptr<Server> serve(Handler handler) {
    return Server::start({}, std::move(handler)).value();
}

TEST(EventClient, hears_what_is_sent_while_it_is_sent_and_that_it_ends) {
    const auto server = serve([](Exchange& exchange) -> Task<void> {
        Response head;
        head.headers = {{"Content-Type", "text/event-stream"},
                        {"X-Asked", std::string(exchange.head().header("Authorization"))}};
        head.close = true;
        const std::string asked(exchange.head().header("Authorization"));
        if (!co_await exchange.start(std::move(head))) co_return;
        if (!co_await exchange.write("data: " + asked + "\n\n")) co_return;
        co_await exchange.pause(milliseconds(200));
        if (!co_await exchange.write("data: sec")) co_return;
        if (!co_await exchange.write("ond\n\n")) co_return;
        (void)co_await exchange.finish();
    });
    const Endpoint endpoint{"127.0.0.1", server->port()};
    const auto events =
        EventClient::open(endpoint, {.target = "/e", .authorization = "Bearer t"}).value();
    const auto first = events->next(milliseconds(5000)).value();
    ASSERT_TRUE(first.has_value());
    EXPECT_EQ(first->data, "Bearer t");
    EXPECT_FALSE(events->next(milliseconds(1)).value().has_value());
    const auto second = events->next(milliseconds(5000)).value();
    ASSERT_TRUE(second.has_value());
    EXPECT_EQ(second->data, "second");
    const auto end = events->next(milliseconds(5000));
    ASSERT_FALSE(end);
    EXPECT_EQ(end.error().code, Errc::Unavailable);
}

TEST(EventClient, tells_who_is_not_there_and_what_a_server_says_when_it_refuses) {
    auto server = serve([](Exchange& exchange) -> Task<void> {
        Response response;
        response.status = 401;
        response.body = R"({"error":{"code":"unauthorized","message":"show the token"}})";
        (void)co_await exchange.respond(std::move(response));
    });
    const auto refused = EventClient::open({"127.0.0.1", server->port()}, {.target = "/e"});
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().code, Errc::InvalidInput);
    EXPECT_THAT(refused.error().message, HasSubstr("answers 401: show the token"));
    const int port = server->port();
    server.reset();
    const auto gone = EventClient::open({"127.0.0.1", port}, {.target = "/e"});
    ASSERT_FALSE(gone);
    EXPECT_THAT(gone.error().message, HasSubstr("connection refused"));
}

}  // namespace
}  // namespace plimsoll::net
