// SPDX-License-Identifier: Apache-2.0
//
// Goal: the pace of a card is learned from what its runs themselves did, and from nothing else.
// Method: runs as the history keeps them, made by a law that the test knows.
#include "service/pace.h"

#include "service/comfyui/step_times.h"
#include "service/run_record.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

constexpr const char* kCard = "rtx3060-12gb";

// A run whose table says 10 s of steps after 2 s of loading, forecast with a pace.
history::RunRecord run_of(int number, double observed_steps, double pace = 1) {
    history::RunRecord run;
    run.run_id = fmt::format("run-{}", number);
    run.started_ms = 1000 + number;
    run.ended_ms = run.started_ms + 1;
    run.card = kCard;
    run.family = "sdxl";
    run.outcome = history::Outcome::Done;
    history::PhaseRecord sample;
    sample.kind = "sample";
    sample.node_id = "3";
    sample.forecast_seconds = 10 * pace + 2;
    sample.forecast_load_seconds = 2;
    sample.pace = pace;
    sample.observed_seconds = observed_steps + 1.5;
    sample.observed_step_seconds = observed_steps;
    run.phases = {sample};
    return run;
}

double factor_of(history::Store& store, const std::string& card = kCard) {
    return read_paces(store, card).value().of("sample", "sdxl").factor;
}

TEST(StepTimes, extends_the_pace_of_the_steps_it_saw_to_all) {
    StepTimes steps;
    steps.add(100, 1, 20);  // loading was before
    for (int step = 2; step <= 20; ++step) {
        steps.add(100 + 0.5 * (step - 1), step, 20);
        steps.add(100 + 0.5 * (step - 1) + 0.01, step, 20);  // told twice
    }
    ASSERT_TRUE(steps.all_seconds());
    EXPECT_NEAR(*steps.all_seconds(), 10, 1e-9);
}

TEST(StepTimes, says_nothing_of_few_steps_nor_of_two_bars_in_one_node) {
    StepTimes few;
    for (int step = 1; step <= 3; ++step) few.add(step, step, 3);
    EXPECT_FALSE(few.all_seconds());
    StepTimes two;
    for (int step = 1; step <= 10; ++step) two.add(step, step, 10);
    two.add(11, 1, 10);
    EXPECT_FALSE(two.all_seconds());
    StepTimes hostile;
    hostile.add(1, -5, 10);
    hostile.add(2, 50, 10);
    hostile.add(3, 1, 0);
    EXPECT_FALSE(hostile.all_seconds());
}

TEST(TimedRun, takes_the_pace_and_the_loading_out_of_the_forecast) {
    const timing::TimedRun timed = timed_run_of(run_of(1, 14, 1.3));
    ASSERT_EQ(timed.works.size(), 1);
    EXPECT_EQ(timed.family, "sdxl");
    EXPECT_EQ(timed.works[0].kind, "sample");
    EXPECT_NEAR(timed.works[0].table_seconds, 10, 1e-9);
    EXPECT_NEAR(timed.works[0].observed_seconds, 14, 1e-9);
}

TEST(TimedRun, leaves_out_what_did_not_end_well_and_what_heat_slowed_down) {
    for (const auto outcome :
         {history::Outcome::Running, history::Outcome::OutOfMemory, history::Outcome::Failed,
          history::Outcome::Cancelled, history::Outcome::TimedOut, history::Outcome::Lost}) {
        history::RunRecord run = run_of(1, 14);
        run.outcome = outcome;
        EXPECT_TRUE(timed_run_of(run).works.empty());
    }
    history::RunRecord hot = run_of(1, 14);
    keep_out_of_learning(hot);
    EXPECT_TRUE(timed_run_of(hot).works.empty());
}

TEST(TimedRun, leaves_out_nodes_whose_loading_cannot_be_told_from_work) {
    history::RunRecord run = run_of(1, 14);
    run.phases[0].observed_step_seconds.reset();
    EXPECT_FALSE(timed_run_of(run).works.empty());  // a tenth of it at most
    run.phases[0].forecast_load_seconds = 6;
    EXPECT_TRUE(timed_run_of(run).works.empty());
    run.phases[0].forecast_load_seconds.reset();  // of before it was recorded
    EXPECT_TRUE(timed_run_of(run).works.empty());
}

TEST(TimedRun, adds_up_two_samplers_of_one_run) {
    history::RunRecord run = run_of(1, 14);
    run.phases.push_back(run.phases[0]);
    run.phases[1].observed_step_seconds = 10;
    const timing::TimedRun timed = timed_run_of(run);
    ASSERT_EQ(timed.works.size(), 1);
    EXPECT_NEAR(timed.works[0].table_seconds, 20, 1e-9);
    EXPECT_NEAR(timed.works[0].observed_seconds, 24, 1e-9);
}

TEST(ReadPaces, does_not_chase_itself) {
    // Each run is forecast with the pace that those before it gave, as the service does.
    history::MemoryStore store;
    double pace = 1;
    for (int i = 0; i < 40; ++i) {
        ASSERT_TRUE(store.record_run(run_of(i, 14, pace)));
        pace = factor_of(store);
        EXPECT_LT(pace, 1.41);
    }
    EXPECT_NEAR(pace, 1.4, 0.01);
}

TEST(ReadPaces, keeps_a_simulated_card_apart_from_a_real_one) {
    history::MemoryStore store;
    for (int i = 0; i < 5; ++i) {
        history::RunRecord run = run_of(i, 30);
        run.card = std::string(kCard) + " (simulated)";
        ASSERT_TRUE(store.record_run(run));
    }
    EXPECT_FALSE(read_paces(store, kCard).value().learned());
    EXPECT_GT(factor_of(store, std::string(kCard) + " (simulated)"), 2);
}

TEST(PaceBook, reads_the_history_again_only_once_a_run_was_recorded) {
    int opened = 0;
    history::MemoryStore runs;
    PaceBook book([&]() -> Result<std::unique_ptr<history::Store>> {
        ++opened;
        auto copy = std::make_unique<history::MemoryStore>(runs);
        return std::unique_ptr<history::Store>(std::move(copy));
    });
    EXPECT_EQ(book.paces_of(kCard), nullptr);
    EXPECT_EQ(book.paces_of(kCard), nullptr);
    EXPECT_EQ(opened, 1);
    ASSERT_TRUE(runs.record_run(run_of(1, 14)));
    EXPECT_EQ(book.paces_of(kCard), nullptr);
    book.note_run();
    const timing::SharedPaces learned = book.paces_of(kCard);
    ASSERT_NE(learned, nullptr);
    EXPECT_EQ(learned->card.runs, 1);
    EXPECT_EQ(book.paces_of(kCard), learned);
    EXPECT_EQ(opened, 2);
}

TEST(PaceBook, goes_by_the_table_where_the_history_cannot_be_read) {
    PaceBook book([]() -> Result<std::unique_ptr<history::Store>> {
        return fail(Errc::Unavailable, "the disk is gone");
    });
    EXPECT_EQ(book.paces_of(kCard), nullptr);
}

}  // namespace
}  // namespace plimsoll::service
