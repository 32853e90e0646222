// SPDX-License-Identifier: Apache-2.0
#include "advisor/resource_manager.h"

#include "advisor/loader_law.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::advisor {
namespace {

using ::testing::HasSubstr;

ResourceManager manager(Budget budget = {}, HistoryView history = {}, const LoaderLaw& law = {}) {
    return ResourceManager(
        {.forecaster = law, .budget = budget, .profiles = {}, .history = std::move(history)});
}

TEST(CalculateOptimalSettings, keeps_the_wish_where_it_fits) {
    const auto s = manager().calculate_optimal_settings(1024, 1024, Quality::High, "sdxl-base");
    ASSERT_TRUE(s.has_value()) << s.error().message;
    EXPECT_EQ(s->width, 1024);
    EXPECT_EQ(s->height, 1024);
    EXPECT_EQ(s->steps, 28);
    EXPECT_EQ(s->cfg, 7.0);
    EXPECT_FALSE(s->vae_tiling);
    EXPECT_TRUE(manager().is_settings_safe(*s)->safe);
}

TEST(CalculateOptimalSettings, answers_every_wish_in_range_with_safe_settings_in_range) {
    for (const double max_mb : {1024.0, 2048.0, 5120.0})
        for (const double minutes : {0.4, 30.0})
            for (const auto& [w, h] :
                 {std::pair{512, 512}, {1024, 1024}, {1536, 1536}, {1536, 512}, {520, 1000}})
                for (const Quality quality : {Quality::Draft, Quality::Ultra}) {
                    const ResourceManager asked = manager(*make_budget(max_mb, 0.15, minutes));
                    const auto s = asked.calculate_optimal_settings(w, h, quality, "sdxl-base");
                    if (!s) {
                        EXPECT_EQ(s.error().code, Errc::LimitExceeded) << s.error().message;
                        continue;
                    }
                    EXPECT_TRUE(check_ranges(*s).has_value());
                    EXPECT_LE(s->width, w);
                    EXPECT_LE(s->height, h);
                    EXPECT_TRUE(asked.is_settings_safe(*s)->safe)
                        << max_mb << " " << minutes << " " << w << "x" << h;
                }
}

TEST(CalculateOptimalSettings, tells_what_it_gave_up) {
    // 1536 x 1536 decoded whole needs 2.8 GiB; the line is at 1.7 GiB.
    const ResourceManager small = manager(*make_budget(2048, 0.15, 30));
    const auto optimal = small.calculate_optimal(1536, 1536, Quality::Draft, "sdxl-base");
    ASSERT_TRUE(optimal.has_value()) << optimal.error().message;
    EXPECT_TRUE(optimal->settings.vae_tiling);
    EXPECT_THAT(optimal->notes, ::testing::Contains(HasSubstr("tiles")));
}

TEST(CalculateOptimalSettings, refuses_what_is_out_of_range_or_unknown) {
    EXPECT_THAT(
        manager().calculate_optimal_settings(100, 1024, Quality::High, "sdxl-base").error().message,
        HasSubstr("width 100 is out of range"));
    EXPECT_EQ(
        manager().calculate_optimal_settings(1024, 1024, Quality::High, "nonsense").error().code,
        Errc::NotFound);
}

TEST(IsSettingsSafe, is_not_for_a_job_whose_needs_are_above_the_line) {
    const ResourceManager tight = manager(*make_budget(1024, 0.15, 30));
    const auto safety = tight.is_settings_safe({.model = "sdxl-base"});
    ASSERT_TRUE(safety.has_value());
    EXPECT_FALSE(safety->safe);
    ASSERT_FALSE(safety->reasons.empty());
    EXPECT_THAT(safety->reasons[0], HasSubstr("cannot be paged"));
}

TEST(IsSettingsSafe, is_not_for_a_job_that_takes_too_long) {
    const auto safety = manager(*make_budget(5120, 0.15, 0.2))
                            .is_settings_safe({.model = "sdxl-base", .steps = 50});
    EXPECT_FALSE(safety->safe);
    EXPECT_THAT(safety->reasons[0], HasSubstr("above the limit"));
}

TEST(IsSettingsSafe, mentions_parked_weights_and_stays_safe) {
    const auto safety = manager().is_settings_safe({.model = "sdxl-base"});
    EXPECT_TRUE(safety->safe);
    EXPECT_EQ(safety->standing, Standing::Parked);
    EXPECT_THAT(safety->reasons[0], HasSubstr("weights parked"));
}

TEST(GetResourceSummary, holds_peak_need_time_and_phases) {
    const auto summary =
        manager().get_resource_summary({.model = "sdxl-base", .sampler = "euler_ancestral"});
    ASSERT_TRUE(summary.has_value());
    EXPECT_EQ(summary->vram, summary->forecast.memory.peak);
    EXPECT_GT(summary->vram, summary->floor);
    EXPECT_GT(summary->seconds, 0);
    EXPECT_EQ(summary->forecast.memory.phases.size(), 2U);
    EXPECT_EQ(summary->load_line, Bytes::from_mib(4352));
    EXPECT_THAT(summary->warnings, ::testing::Contains(HasSubstr("adds noise at every step")));
}

TEST(GetResourceSummary, falls_back_to_the_profiles_priors_and_says_so) {
    const ResourceManager blind(
        {.forecaster = [](const Scenario&) -> Result<PricedForecast> { return PricedForecast{}; },
         .budget = {},
         .profiles = {},
         .history = {}});
    const auto summary = blind.get_resource_summary({.model = "anime-sprite"});
    ASSERT_TRUE(summary.has_value());
    EXPECT_TRUE(summary->from_prior);
    EXPECT_EQ(summary->vram, Bytes(2'600'000'000));
    EXPECT_NEAR(summary->seconds, 35, 1e-9);
    EXPECT_THAT(summary->warnings, ::testing::Contains(HasSubstr("not a forecast")));
}

TEST(GetBestSettings, is_the_fastest_completed_run_that_is_good_enough_and_safe) {
    const auto run = [](int steps, double quality, double seconds, bool completed) {
        return PastRun{{.model = "sdxl-base", .steps = steps},
                       quality,
                       seconds,
                       Bytes::from_mib(4000),
                       completed};
    };
    const HistoryView history = [&](std::string_view model) -> std::vector<PastRun> {
        EXPECT_EQ(model, "sdxl-base");
        PastRun out_of_range = run(500, 0.99, 1, true);
        return {run(12, 0.5, 20, true), run(20, 0.8, 30, true), run(28, 0.9, 40, true),
                run(10, 0.95, 5, false), out_of_range};
    };
    const ResourceManager asked = manager({}, history);
    EXPECT_EQ((*asked.get_best_settings("sdxl-base", 0.7))->steps, 20);
    EXPECT_EQ((*asked.get_best_settings("sdxl-base", 0.85))->steps, 28);
    EXPECT_EQ(*asked.get_best_settings("sdxl-base", 0.99), std::nullopt);
    EXPECT_FALSE(asked.get_best_settings("sdxl-base", 1.5).has_value());
    EXPECT_EQ(*manager().get_best_settings("sdxl-base", 0.5), std::nullopt);  // no history
}

}  // namespace
}  // namespace plimsoll::advisor
