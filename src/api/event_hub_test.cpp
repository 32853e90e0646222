// SPDX-License-Identifier: Apache-2.0
#include "api/event_hub.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::api {
namespace {

using ::testing::HasSubstr;
using ::testing::Not;

TEST(EventHub, wakes_a_stream_and_gives_it_each_event_once) {
    EventHub hub("e");
    int woken = 0;
    const auto stream = hub.subscribe("", [&] { ++woken; });
    ASSERT_NE(stream, nullptr);
    (void)stream->take();  // how a stream begins
    hub.publish("job", {{"jobId", "a"}});
    EXPECT_GE(woken, 1);
    EXPECT_THAT(stream->take(), HasSubstr(R"("jobId":"a")"));
    EXPECT_EQ(stream->take(), "");
}

TEST(EventHub, goes_on_after_the_last_event_that_was_seen) {
    EventHub hub("e");
    for (const char* const id : {"a", "b", "c"}) hub.publish("job", {{"jobId", id}});
    const auto stream = hub.subscribe("e-1", [] {});
    const std::string bytes = stream->take();
    EXPECT_THAT(bytes, Not(HasSubstr(R"("a")")));
    EXPECT_THAT(bytes, HasSubstr(R"("b")"));
    EXPECT_THAT(bytes, HasSubstr(R"("c")"));
    EXPECT_THAT(bytes, Not(HasSubstr("event: reset")));
}

// Ids of another life of the daemon, of the future, or no ids at all.
TEST(EventHub, begins_anew_and_says_so_where_it_cannot_go_on) {
    EventHub hub("e");
    hub.publish("job", {{"jobId", "a"}});
    for (const char* const last : {"other-1", "e-9", "e-", "nonsense", "e-99999999999999999999"})
        EXPECT_THAT(hub.subscribe(last, [] {})->take(), HasSubstr("event: reset")) << last;
}

TEST(EventHub, forgets_the_oldest_and_tells_the_stream_that_missed_them) {
    EventHub hub("e");
    hub.publish("job", {{"jobId", "first"}});
    for (std::size_t i = 0; i <= kEventsKept; ++i) hub.publish("job", {{"jobId", "more"}});
    EXPECT_THAT(hub.subscribe("e-1", [] {})->take(), HasSubstr("event: reset"));
}

TEST(EventHub, bounds_how_many_streams_are_open_and_ends_them_all_at_once) {
    EventHub hub("e");
    std::vector<std::unique_ptr<EventHub::Subscription>> streams;
    for (std::size_t i = 0; i < kStreamsMax; ++i) streams.push_back(hub.subscribe("", [] {}));
    EXPECT_NE(streams.back(), nullptr);
    EXPECT_EQ(hub.subscribe("", [] {}), nullptr);
    streams.pop_back();
    EXPECT_NE(hub.subscribe("", [] {}), nullptr);
    hub.close();
    EXPECT_TRUE(streams.front()->is_closed());
}

}  // namespace
}  // namespace plimsoll::api
