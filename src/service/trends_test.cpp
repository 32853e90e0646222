// SPDX-License-Identifier: Apache-2.0
// Goal: one line for each model or card, its days in order. Method: runs in a store in memory.
#include "service/trends.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

void record(history::Store& store, int number, const std::string& model, int day) {
    history::RunRecord run;
    run.run_id = fmt::format("r{}", number);
    run.started_ms = 1'700'006'400'000 + day * 86'400'000LL;
    run.model = model;
    run.card = "card";
    run.outcome = history::Outcome::Done;
    run.observed_seconds = number;
    ASSERT_TRUE(store.record_run(run));
}

TEST(Trends, have_a_line_for_each_model_with_its_days_in_order) {
    history::MemoryStore store;
    record(store, 1, "a", 0);
    record(store, 2, "b", 0);
    record(store, 3, "b", 1);
    record(store, 5, "b", 1);
    const auto trends = trends_of(store, {}, history::StatsBy::Model).value();
    ASSERT_EQ(trends.size(), 2U);
    EXPECT_EQ(trends[0].key, "b");
    EXPECT_EQ(trends[0].total.runs, 3);
    ASSERT_EQ(trends[0].days.size(), 2U);
    EXPECT_EQ(trends[0].days[0].key, "2023-11-15");
    EXPECT_EQ(trends[0].days[1].seconds_mean, 4);
    EXPECT_EQ(trends[1].days.size(), 1U);
    const auto all = trends_of(store, {}, history::StatsBy::Day).value();
    ASSERT_EQ(all.size(), 1U);
    EXPECT_EQ(all[0].key, "all");
    EXPECT_EQ(all[0].days.size(), 2U);
    EXPECT_EQ(trends_of(store, {.model = "a"}, history::StatsBy::Card).value().at(0).total.runs, 1);
}

TEST(Trends, pass_on_what_the_store_says_and_have_a_limit) {
    history::MemoryStore store;
    for (int i = 0; i < 12; ++i) record(store, i, fmt::format("model{}", i), 0);
    EXPECT_EQ(trends_of(store, {}, history::StatsBy::Model).value().size(), kTrendsMax);
    store.fail_at(1);
    EXPECT_EQ(trends_of(store, {}, history::StatsBy::Model).error().code, Errc::Unavailable);
}

}  // namespace
}  // namespace plimsoll::service
