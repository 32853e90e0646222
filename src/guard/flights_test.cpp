// SPDX-License-Identifier: Apache-2.0
//
// Goal: who ended a try, and how, is told apart whatever comes first: a message, an answer, a
// request of its client. Method: ComfyUI's messages and answers written down, time passed in.
#include "guard/flights.h"

#include "guard/waits.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace plimsoll::guard {
namespace {

using service::JobState;
using testing::ElementsAre;
using testing::IsEmpty;

class Flying : public testing::Test {
  protected:
    void SetUp() override { send("a"); }
    void send(const std::string& id, std::uint64_t request = 0) {
        Flight flight;
        flight.prompt_id = id;
        flight.request_number = request;
        flight.sent_ms = now_.ms;
        flights_.add(std::move(flight));
    }
    Flights::Heard hear(const service::Message& said) {
        return flights_.hear("a", said, now_.card_ms, outputs_, now_);
    }
    Flights::Heard look(JobState state) {
        return flights_.note_look("a", {.state = state, .images = {}, .error = std::nullopt}, now_);
    }
    void pass(std::int64_t ms) {
        now_.ms += ms;
        now_.card_ms += ms;
    }
    void watch() {
        flights_.find("a")->watch.emplace(
            JobForecast{.nodes = {{"3", {.peak = Bytes::from_gib(4), .seconds = 20}}},
                        .load_line = Bytes::from_gib(4.5)},
            now_.card_ms);
    }
    std::vector<Flights::AlarmOf> see_allocated(double gib) {
        pass(1'000);
        return flights_.note_card({.use = {.allocated = Bytes::from_gib(gib),
                                           .used = Bytes::from_gib(gib),
                                           .total = Bytes::from_gib(6)}},
                                  now_.card_ms, [](const std::string&) { return true; });
    }
    // By all programs; of torch's share nothing is known.
    void see_used(double gib) {
        (void)flights_.note_card({.use = {.allocated = std::nullopt,
                                          .used = Bytes::from_gib(gib),
                                          .total = Bytes::from_gib(6)}},
                                 now_.card_ms, [](const std::string&) { return true; });
    }
    const Flight& a() { return *flights_.find("a"); }

    Times now_{.ms = 1'000'000, .card_ms = 1'000'000};
    std::vector<std::string> outputs_{"9"};
    Flights flights_;
};

TEST_F(Flying, the_first_message_says_that_it_runs_and_the_next_is_no_news) {
    EXPECT_TRUE(hear(service::Started{}).is_news);
    EXPECT_FALSE(hear(service::NodeStarted{.node_id = "3"}).is_news);
    EXPECT_TRUE(a().confirmed);
    EXPECT_EQ(a().node_id, "3");
    now_.card_ms += 5'000;
    EXPECT_EQ(a().ran_seconds(now_.card_ms), 5);
    EXPECT_FALSE(flights_.hear("b", service::Started{}, now_.card_ms, {}, now_).is_news);
}

TEST_F(Flying, times_the_steps_of_a_node_and_not_what_it_loads_before_them) {
    (void)hear(service::NodeStarted{.node_id = "3"});
    pass(8'000);
    for (int step = 1; step <= 20; ++step) {
        pass(500);
        // Told twice, once without the node's name.
        (void)hear(service::NodeProgress{.node_id = "3", .value = 1.0 * step, .max = 20});
        (void)hear(service::NodeProgress{.node_id = "", .value = 1.0 * step, .max = 20});
    }
    ASSERT_TRUE(a().steps.contains("3"));
    ASSERT_TRUE(a().steps.at("3").all_seconds());
    EXPECT_NEAR(*a().steps.at("3").all_seconds(), 10, 1e-6);
}

TEST_F(Flying, with_the_last_output_it_has_succeeded_though_nobody_says_so) {
    outputs_ = {"9", "12"};
    (void)hear(service::NodeOutput{.node_id = "9", .images = {}});
    EXPECT_FALSE(a().succeeded);
    (void)hear(service::NodeOutput{.node_id = "12", .images = {}});
    EXPECT_TRUE(a().succeeded);
    EXPECT_FALSE(flights_.is_settled());
    // And a ComfyUI that came back without a memory of it has not lost it.
    flights_.lose_contact();
    (void)look(JobState::Unknown);
    EXPECT_TRUE(a().ended);
    EXPECT_EQ(end_of(a()), FlightEnd::Done);
}

TEST_F(Flying, an_output_ends_nothing_where_it_is_not_known_what_the_job_is_for) {
    outputs_.clear();
    (void)hear(service::NodeOutput{.node_id = "9", .images = {}});
    EXPECT_FALSE(a().succeeded);
}

TEST_F(Flying, an_end_counts_only_with_an_outcome) {
    (void)hear(service::Started{});
    (void)hear(service::Ended{});  // of the try before
    EXPECT_FALSE(a().ended);
    (void)hear(service::Failed{{"8", "VAEDecode", "bad value", "ValueError"}});
    (void)hear(service::Ended{});
    EXPECT_TRUE(a().ended);
    EXPECT_EQ(end_of(a()), FlightEnd::Failed);
}

TEST_F(Flying, an_interrupt_is_ours_only_where_we_asked_for_it_and_its_client_did_not) {
    (void)hear(service::WasInterrupted{});
    EXPECT_EQ(end_of(a()), FlightEnd::Interrupted);
    EXPECT_FALSE(a().comes_back());
    EXPECT_TRUE(flights_.stop("a", StopCause::Spilled, "slow", now_.card_ms));
    EXPECT_EQ(end_of(a()), FlightEnd::Stopped);
    EXPECT_TRUE(a().comes_back());
    EXPECT_TRUE(flights_.stop("a", StopCause::Time, "late", now_.card_ms));
    EXPECT_FALSE(a().comes_back());
    EXPECT_TRUE(flights_.cancel("a"));
    EXPECT_EQ(end_of(a()), FlightEnd::TakenBack);
    EXPECT_FALSE(flights_.stop("b", StopCause::Heat, "hot", now_.card_ms));
}

TEST_F(Flying, one_that_comfyui_names_no_longer_is_lost_after_a_moment) {
    (void)look(JobState::Running);
    pass(1'000);
    (void)look(JobState::Unknown);  // between its two lists
    EXPECT_FALSE(a().ended);
    (void)look(JobState::Running);
    (void)look(JobState::Unknown);
    pass(kUnknownMs);
    (void)look(JobState::Unknown);
    EXPECT_TRUE(a().ended);
    EXPECT_EQ(end_of(a()), FlightEnd::Lost);
}

TEST_F(Flying, after_a_break_one_look_is_enough) {
    (void)look(JobState::Pending);
    flights_.lose_contact();
    (void)look(JobState::Unknown);
    EXPECT_TRUE(a().ended);
    EXPECT_EQ(end_of(a()), FlightEnd::Unstarted);
}

TEST_F(Flying, a_prompt_on_its_way_has_a_minute_to_arrive) {
    send("a", 7);
    (void)look(JobState::Unknown);
    pass(kUnknownMs * 2);
    (void)look(JobState::Unknown);
    EXPECT_FALSE(a().ended);
    pass(kUnansweredMs);
    (void)look(JobState::Unknown);
    EXPECT_TRUE(a().ended);
}

TEST_F(Flying, what_its_client_was_told_decides_what_becomes_of_a_prompt_without_a_trace) {
    send("b", 7);
    EXPECT_EQ(flights_.note_answer(8, 200, "b").first, Arrival::Nobodys);
    EXPECT_EQ(flights_.note_answer(0, 200, "a").first, Arrival::Nobodys);
    EXPECT_EQ(flights_.note_answer(7, 200, "b"), std::pair(Arrival::Taken, std::string("b")));
    EXPECT_TRUE(flights_.find("b")->confirmed);
    send("b", 7);
    EXPECT_EQ(flights_.note_answer(7, 502, std::nullopt).first, Arrival::Doubtful);
    (void)flights_.note_look("b", {}, now_);
    EXPECT_EQ(end_of(*flights_.find("b")), FlightEnd::Unheard);
    EXPECT_EQ(flights_.note_answer(7, 400, std::nullopt).first, Arrival::Refused);
    EXPECT_EQ(flights_.find("b"), nullptr);
    send("b", 7);
    EXPECT_EQ(flights_.note_answer(7, 200, "of-its-own").first, Arrival::UnderOtherId);
    EXPECT_EQ(flights_.find("b"), nullptr);
}

TEST_F(Flying, whoever_deletes_the_history_has_seen_the_end) {
    flights_.forget_history([](const std::string&) { return true; });
    EXPECT_FALSE(a().history_gone);  // it has not begun
    (void)look(JobState::Running);
    flights_.forget_history([](const std::string&) { return true; });
    (void)look(JobState::Unknown);
    EXPECT_EQ(end_of(a()), FlightEnd::Done);
}

TEST_F(Flying, only_what_comfyui_has_is_left_to_it_to_cancel) {
    flights_.lose_contact();
    EXPECT_FALSE(flights_.cancel("a"));
    EXPECT_FALSE(flights_.cancel("b"));
    (void)look(JobState::Running);
    EXPECT_TRUE(flights_.cancel("a"));
}

TEST_F(Flying, asks_four_times_a_second_and_at_once_where_there_is_news) {
    (void)look(JobState::Running);
    EXPECT_THAT(flights_.due(now_.ms), IsEmpty());
    flights_.ask_soon();
    EXPECT_THAT(flights_.due(now_.ms), ElementsAre("a"));
    (void)look(JobState::Running);
    pass(kPollMs);
    EXPECT_THAT(flights_.due(now_.ms), ElementsAre("a"));
    (void)look(JobState::Succeeded);
    EXPECT_THAT(flights_.due(now_.ms), ElementsAre("a"));
}

TEST_F(Flying, what_is_seen_off_hears_nothing_more_and_is_waited_for_by_nobody) {
    (void)hear(service::Succeeded{});
    flights_.find("a")->seen_off = true;
    EXPECT_TRUE(flights_.is_settled());
    (void)hear(service::Failed{service::NodeError{}});
    EXPECT_FALSE(a().error);
}

TEST_F(Flying, the_card_counts_for_what_runs) {
    watch();
    EXPECT_THAT(see_allocated(5), IsEmpty());
    EXPECT_FALSE(a().observed_peak);
    (void)hear(service::Started{});
    EXPECT_FALSE(see_allocated(5).empty());  // over the line
    EXPECT_EQ(a().observed_peak, Bytes::from_gib(5));
    EXPECT_FALSE(a().no_lesson);
    (void)flights_.note_card({.use = {}, .slows_itself = true}, now_.card_ms,
                             [](const std::string&) { return true; });
    (void)see_allocated(3);
    EXPECT_TRUE(a().no_lesson);
    EXPECT_EQ(a().observed_peak, Bytes::from_gib(5));
}

TEST_F(Flying, an_alarm_falls_away_where_the_job_is_being_stopped) {
    watch();
    (void)hear(service::Started{});
    (void)see_allocated(5);
    EXPECT_EQ(flights_.take_alarms().size(), 1U);
    EXPECT_THAT(flights_.take_alarms(), IsEmpty());
    flights_.find("a")->alarm.emplace().threatens = true;
    flights_.stop("a", StopCause::Heat, "hot", now_.card_ms);
    EXPECT_THAT(flights_.take_alarms(), IsEmpty());
    EXPECT_THAT(flights_.running(), IsEmpty());
}

TEST_F(Flying, of_several_alarms_in_a_turn_the_one_that_asks_for_most_is_acted_on) {
    for (const bool spill_first : {false, true}) {
        send("a");
        watch();
        (void)hear(service::NodeStarted{.node_id = "3"});
        const auto go_over_the_line = [&] { EXPECT_FALSE(see_allocated(5.5).empty()); };
        const auto spill = [&] {
            see_used(5.5);
            bool is_said = false;
            for (int step = 1; step <= 4; ++step) {
                pass(10'000);  // a second was forecast
                for (const Alarm& alarm :
                     hear(service::NodeProgress{.node_id = "3", .value = double(step), .max = 20})
                         .alarms)
                    is_said = is_said || alarm.kind == AlarmKind::Spill;
            }
            EXPECT_TRUE(is_said);
        };
        if (spill_first) spill();
        go_over_the_line();
        if (!spill_first) spill();
        const auto alarms = flights_.take_alarms();
        ASSERT_EQ(alarms.size(), 1U);
        EXPECT_EQ(alarms[0].alarm.kind, AlarmKind::Spill) << spill_first;
    }
}

TEST_F(Flying, only_one_that_was_stopped_for_standing_still_hangs) {
    flights_.stop("a", StopCause::Spilled, "slow", now_.card_ms);
    EXPECT_FALSE(flights_.mark_hung(now_.card_ms + kHungMs));
    flights_.stop("a", StopCause::Stalled, "still", now_.card_ms);
    EXPECT_FALSE(flights_.mark_hung(now_.card_ms + kHungMs - 1));
    EXPECT_TRUE(flights_.mark_hung(now_.card_ms + kHungMs));
    EXPECT_TRUE(a().hung);
}

TEST_F(Flying, a_forecast_that_comes_late_does_not_forget_what_was_seen) {
    watch();
    (void)hear(service::NodeStarted{.node_id = "3"});
    Flight prepared;
    prepared.prompt_id = "a";
    prepared.record.run_id = "run";
    prepared.watch.emplace(JobForecast{.nodes = {}, .load_line = Bytes::from_gib(2)}, now_.card_ms);
    flights_.complete(prepared);
    EXPECT_EQ(a().record.run_id, "run");
    EXPECT_EQ(a().watch->node_id(), "3");
    EXPECT_EQ(a().watch->forecast().load_line, Bytes::from_gib(2));
}

}  // namespace
}  // namespace plimsoll::guard
