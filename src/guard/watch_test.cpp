// SPDX-License-Identifier: Apache-2.0
//
// Goal: each way in which a job goes wrong is said within five steps of its beginning, and a job
// that goes as forecast is left in peace. Method: steps and looks at the card written down, a card
// of 6 GiB.
#include "guard/watch.h"

#include <gtest/gtest.h>

#include <iterator>

namespace plimsoll::guard {
namespace {

constexpr Bytes kTotal = Bytes(6LL << 30U);

class Watching : public testing::Test {
  protected:
    // A step of the sampler; the card is looked at within it.
    std::vector<Alarm> step(double seconds, double allocated_gib, double used_gib) {
        now_ += static_cast<std::int64_t>(seconds * 500);
        auto alarms = look(allocated_gib, used_gib);
        now_ += static_cast<std::int64_t>(seconds * 500);
        for (Alarm& alarm : watch_.on_progress(now_, "3", ++step_, 20))
            alarms.push_back(std::move(alarm));
        return alarms;
    }
    std::vector<Alarm> look(double allocated_gib, double used_gib) {
        return watch_.on_card(now_, {.allocated = Bytes::from_gib(allocated_gib),
                                     .used = Bytes::from_gib(used_gib),
                                     .total = kTotal});
    }
    // Steps until something is said; 0: nothing was.
    int steps_until(AlarmKind kind, double seconds, double allocated, double used,
                    double rise = 0) {
        for (int i = 1; i <= 5; ++i) {
            for (const Alarm& alarm : step(seconds, allocated + rise * i, used))
                if (alarm.kind == kind) return i;
        }
        return 0;
    }
    std::int64_t now_ = 1'000'000;
    int step_ = 0;
    JobWatch watch_{{.nodes = {{"3", {.peak = Bytes::from_gib(4), .seconds = 20}}},
                     .load_line = Bytes::from_gib(4.5)},
                    now_};
};

TEST(Alarm, what_has_happened_asks_for_more_than_what_threatens_and_that_more_than_what_is_said) {
    const auto alarm = [](AlarmKind kind, bool threatens) {
        return Alarm{.kind = kind, .node_id = "", .sentence = "", .threatens = threatens};
    };
    const AlarmKind order[] = {AlarmKind::Stall, AlarmKind::Spill, AlarmKind::OverLine,
                               AlarmKind::Creep, AlarmKind::Drift};
    for (std::size_t i = 0; i < std::size(order); ++i) {
        EXPECT_FALSE(asks_for_more(alarm(order[i], true), alarm(order[i], true)));
        EXPECT_TRUE(asks_for_more(alarm(order[i], true), alarm(AlarmKind::Stall, false)));
        for (std::size_t j = i + 1; j < std::size(order); ++j) {
            EXPECT_TRUE(asks_for_more(alarm(order[i], true), alarm(order[j], true)));
            EXPECT_FALSE(asks_for_more(alarm(order[j], true), alarm(order[i], true)));
        }
    }
}

TEST_F(Watching, a_job_as_forecast_raises_nothing) {
    watch_.on_node(now_, "3");
    for (int i = 0; i < 20; ++i) EXPECT_TRUE(step(1.1, 3.9, 4.3).empty());
}

TEST_F(Watching, a_spill_is_said_within_five_steps) {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(1, 3.9, 5.6).empty());
    const int steps = steps_until(AlarmKind::Spill, 6, 3.9, 5.6);
    EXPECT_GE(steps, 1);
    EXPECT_LE(steps, 5);
}

TEST_F(Watching, a_step_that_is_told_twice_is_one_step) {
    // As ComfyUI does: progress_state and then progress, a moment apart.
    const auto step_told_twice = [&](double seconds) {
        auto alarms = step(seconds, 3.9, 5.6);
        for (Alarm& alarm : watch_.on_progress(now_ + 1, "3", step_, 20))
            alarms.push_back(std::move(alarm));
        return alarms;
    };
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step_told_twice(1).empty());
    ASSERT_TRUE(step_told_twice(6).empty());
    const auto alarms = step_told_twice(6);
    ASSERT_EQ(alarms.size(), 1U);
    EXPECT_EQ(alarms[0].kind, AlarmKind::Spill);
}

TEST_F(Watching, a_node_that_counts_anew_is_timed_anew) {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(1, 3.9, 5.6).empty());
    step_ = 0;  // the pause between two tiles is no step
    ASSERT_TRUE(step(60, 3.9, 5.6).empty());
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(1, 3.9, 5.6).empty());
}

TEST_F(Watching, steps_that_were_not_told_share_the_time) {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(1, 3.9, 5.6).empty());
    for (int i = 0; i < 2; ++i) {
        step_ += 5;
        ASSERT_TRUE(step(6, 3.9, 5.6).empty());
    }
}

TEST_F(Watching, slow_steps_on_a_card_with_room_are_no_spill) {
    for (int i = 0; i < 5; ++i) ASSERT_TRUE(step(1, 2, 3).empty());
    EXPECT_EQ(steps_until(AlarmKind::Spill, 6, 2, 3), 0);
}

TEST_F(Watching, a_card_that_is_slower_than_its_forecast_is_no_spill) {
    // Four times as slow as forecast, from the first step on.
    for (int i = 0; i < 3; ++i) (void)step(4, 3.9, 5.6);
    watch_.on_node(now_, "8");
    watch_.on_node(now_, "3");
    EXPECT_TRUE(step(4, 3.9, 5.6).empty());
}

TEST_F(Watching, memory_that_creeps_up_is_said_within_five_steps) {
    ASSERT_TRUE(step(1, 3.0, 4).empty());
    EXPECT_GE(steps_until(AlarmKind::Creep, 1, 3.0, 4, 0.05), 4);
}

TEST_F(Watching, a_creep_counts_the_steps_between_two_looks) {
    // The card is looked at in every third of 60 steps, in which it grows by 60 MiB.
    const auto look_and_step = [&](double allocated) {
        auto alarms = look(allocated, 4);
        now_ += 1000;
        step_ += 3;
        for (Alarm& alarm : watch_.on_progress(now_, "3", step_, 60))
            alarms.push_back(std::move(alarm));
        return alarms;
    };
    std::vector<Alarm> said;
    for (int i = 0; i < 6; ++i)
        for (Alarm& alarm : look_and_step(3.0 + 0.06 * i)) said.push_back(std::move(alarm));
    ASSERT_EQ(said.size(), 1U);
    EXPECT_EQ(said[0].kind, AlarmKind::Creep);
    // 45 steps are left: 0.9 GiB more and not 2.7. The line is 1.26 away.
    EXPECT_FALSE(said[0].threatens) << said[0].sentence.message();
}

TEST_F(Watching, a_drift_says_by_how_much) {
    watch_ =
        JobWatch({.nodes = {{"3", {.peak = Bytes::from_gib(4), .activations = Bytes::from_gib(1)}}},
                  .load_line = Bytes::from_gib(4.5)},
                 now_);
    watch_.on_node(now_, "3");
    (void)look(4.5, 5);
    const auto drift = look(4.5, 5);
    ASSERT_EQ(drift.size(), 1U);
    EXPECT_DOUBLE_EQ(drift[0].drift, 1.5);
}

TEST_F(Watching, more_memory_than_forecast_is_said_at_the_second_look) {
    watch_.on_node(now_, "3");
    EXPECT_EQ(steps_until(AlarmKind::Drift, 1, 4.45, 5), 2);
    // Once is enough.
    EXPECT_TRUE(step(1, 4.45, 5).empty());
}

TEST_F(Watching, a_drift_is_a_threat_only_where_the_job_would_go_over_the_line) {
    watch_.on_node(now_, "3");
    EXPECT_TRUE(look(4.45, 5).empty()) << "what the node before has left";
    const auto drift = look(4.45, 5);  // 4 GiB forecast, 4.5 the line: 0.45 more is not over
    ASSERT_EQ(drift.size(), 1U);
    EXPECT_FALSE(drift[0].threatens);
    watch_ = JobWatch(
        {.nodes = {{"3", {.peak = Bytes::from_gib(3)}}, {"8", {.peak = Bytes::from_gib(4.4)}}},
         .load_line = Bytes::from_gib(4.5)},
        now_);
    watch_.on_node(now_, "3");
    EXPECT_TRUE(look(3.5, 5).empty());
    for (const Alarm& alarm : look(3.5, 5)) EXPECT_FALSE(alarm.threatens);
    EXPECT_TRUE(look(3.5, 5).empty());
    const auto threat = look(3.5, 5);  // the decode after it will need 0.5 more, too
    ASSERT_EQ(threat.size(), 1U);
    EXPECT_EQ(threat[0].kind, AlarmKind::Drift);
    EXPECT_TRUE(threat[0].threatens);
}

TEST_F(Watching, a_creep_is_a_threat_where_the_steps_that_are_left_reach_the_line) {
    for (int i = 0; i < 6; ++i)
        for (const Alarm& alarm : step(1, 3.0 + 0.02 * i, 4)) EXPECT_FALSE(alarm.threatens);
    watch_.on_node(now_, "8");
    watch_.on_node(now_, "3");
    step_ = 0;
    bool threatened = false;
    for (int i = 0; i < 6; ++i)
        for (const Alarm& alarm : step(1, 3.0 + 0.1 * i, 4))
            threatened = threatened || (alarm.kind == AlarmKind::Creep && alarm.threatens);
    EXPECT_TRUE(threatened);
}

TEST_F(Watching, the_line_is_watched_also_without_a_forecast) {
    watch_ = JobWatch({.load_line = Bytes::from_gib(4.5)}, now_);
    EXPECT_EQ(steps_until(AlarmKind::OverLine, 1, 4.6, 5), 1);
}

TEST_F(Watching, a_stall_is_told_from_a_slow_load) {
    watch_.on_node(now_, "4");
    now_ += 500'000;
    EXPECT_TRUE(look(1, 2).empty()) << "nobody listens";
    watch_.set_heard(now_, true);
    now_ += 60'000;
    EXPECT_TRUE(look(1, 2).empty());
    now_ += 61'000;
    const auto alarms = look(1, 2);
    ASSERT_EQ(alarms.size(), 1U);
    EXPECT_EQ(alarms[0].kind, AlarmKind::Stall);
}

}  // namespace
}  // namespace plimsoll::guard
