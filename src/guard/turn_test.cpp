// SPDX-License-Identifier: Apache-2.0
//
// Goal: held jobs go in the order that was promised. Method: queues written down by hand.
#include "guard/turn.h"

#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

constexpr std::int64_t kNow = 1'000'000;

Candidate job(std::string_view model) {
    return {.model = model, .seconds = 10, .load_seconds = 5, .accepted_ms = kNow};
}
Moment with_loaded(std::string model) {
    return {.now_ms = kNow, .loaded = std::move(model)};
}

TEST(ChooseNext, takes_the_first_where_no_model_is_loaded) {
    std::vector<Candidate> queue{job("a"), job("b")};
    EXPECT_EQ(choose_next(queue, with_loaded("")), 0U);
}

TEST(ChooseNext, lets_the_loaded_model_pass_but_not_for_ever) {
    std::vector<Candidate> queue{job("a")};
    for (int i = 0; i < kPassedMax + 3; ++i) queue.push_back(job("b"));
    for (int i = 0; i < kPassedMax; ++i) {
        const auto next = choose_next(queue, with_loaded("b"));
        ASSERT_EQ(next, 1U);
        queue.erase(queue.begin() + 1);
    }
    EXPECT_EQ(queue.front().passed, kPassedMax);
    EXPECT_EQ(choose_next(queue, with_loaded("b")), 0U);
}

TEST(ChooseNext, passes_nobody_who_has_waited_for_long) {
    std::vector<Candidate> queue{job("a"), job("b")};
    queue[0].accepted_ms = kNow - static_cast<std::int64_t>(kPassedSecondsMax * 1000) - 1;
    EXPECT_EQ(choose_next(queue, with_loaded("b")), 0U);
}

TEST(ChooseNext, never_passes_a_higher_priority_or_a_place_that_was_asked_for) {
    std::vector<Candidate> queue{job("a"), job("b")};
    queue[0].priority = 1;
    EXPECT_EQ(choose_next(queue, with_loaded("b")), 0U);
    queue[0].priority = 0;
    queue[0].strict = true;
    EXPECT_EQ(choose_next(queue, with_loaded("b")), 0U);
    // And one further back whose place was asked for is a border, too.
    std::vector<Candidate> border{job("a"), job("c"), job("b")};
    border[1].strict = true;
    EXPECT_EQ(choose_next(border, with_loaded("b")), 0U);
}

TEST(ChooseNext, what_does_not_fit_now_lets_others_by_and_goes_first_when_it_does) {
    std::vector<Candidate> queue{job("a"), job("b")};
    queue[0].need = Bytes::from_gib(4);
    queue[1].need = Bytes::from_gib(2);
    Moment moment = with_loaded("");
    moment.room = Bytes::from_gib(3);
    EXPECT_EQ(choose_next(queue, moment), 1U);
    EXPECT_EQ(queue[0].passed, 0);
    moment.room = Bytes::from_gib(4);
    EXPECT_EQ(choose_next(queue, moment), 0U);
    // A job without a forecast is never held for room.
    queue[0].need.reset();
    moment.room = Bytes(0);
    EXPECT_EQ(choose_next(queue, moment), 0U);
}

TEST(ChooseNext, pause_heat_and_a_later_try_hold_jobs) {
    std::vector<Candidate> queue{job("a"), job("b")};
    queue[1].light = true;
    Moment moment = with_loaded("");
    moment.heat = HeatGate::LightOnly;
    EXPECT_EQ(choose_next(queue, moment), 1U);
    moment.heat = HeatGate::Nobody;
    EXPECT_EQ(choose_next(queue, moment), std::nullopt);
    EXPECT_EQ(hindrance_of(queue[0], moment), WaitsFor::Heat);
    moment.heat = HeatGate::All;
    queue[0].not_before_ms = kNow + 1;
    EXPECT_EQ(choose_next(queue, moment), 1U);
    EXPECT_EQ(hindrance_of(queue[0], moment), WaitsFor::Retry);
    moment.paused = true;
    EXPECT_EQ(choose_next(queue, moment), std::nullopt);
    EXPECT_EQ(hindrance_of(queue[1], moment), WaitsFor::Pause);
}

TEST(EstimateTurns, counts_the_jobs_before_and_the_loads_between_models) {
    // The running job has 3 s left and model a; order a, a, b although b came second.
    const std::vector<Candidate> queue{job("a"), job("b"), job("a")};
    const auto etas = estimate_turns(queue, with_loaded("a"), 3);
    ASSERT_EQ(etas.size(), 3U);
    EXPECT_EQ(etas[0].start_seconds, 3);
    EXPECT_EQ(etas[2].start_seconds, 13);
    EXPECT_EQ(etas[1].start_seconds, 23);
    EXPECT_EQ(etas[1].waits_for, WaitsFor::Turn);
}

TEST(EstimateTurns, says_nothing_that_nobody_knows) {
    std::vector<Candidate> queue{job("a"), job("a"), job("a")};
    queue[1].seconds.reset();
    auto etas = estimate_turns(queue, with_loaded("a"), 0);
    EXPECT_EQ(etas[1].start_seconds, 10);
    EXPECT_EQ(etas[2].start_seconds, std::nullopt);
    // The running job has no forecast.
    EXPECT_EQ(estimate_turns(queue, with_loaded("a"), std::nullopt)[0].start_seconds, std::nullopt);
    // Nobody knows when the card has cooled down.
    Moment hot = with_loaded("a");
    hot.heat = HeatGate::Nobody;
    etas = estimate_turns(queue, hot, 0);
    EXPECT_EQ(etas[0].start_seconds, std::nullopt);
    EXPECT_EQ(etas[0].waits_for, WaitsFor::Heat);
}

TEST(EstimateTurns, a_full_queue_takes_milliseconds) {
    const std::vector<Candidate> queue(10'000, job("a"));
    EXPECT_EQ(estimate_turns(queue, with_loaded("b"), 0).size(), kEtasMax);
}

}  // namespace
}  // namespace plimsoll::guard
