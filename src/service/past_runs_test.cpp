// SPDX-License-Identifier: Apache-2.0
// Goal: what was recorded comes back as the advisor needs it, and nothing that cannot be used
// again. Method: runs in a store in memory.
#include "service/past_runs.h"

#include "service/quality/findings.h"

#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

history::RunRecord run_of(const std::string& id, const std::string& model, int steps) {
    history::RunRecord run;
    run.run_id = id;
    run.started_ms = 1;
    run.model = model;
    run.settings = {.width = 1024,
                    .height = 832,
                    .batch = 2,
                    .steps = steps,
                    .cfg = 6.5,
                    .sampler = "euler",
                    .scheduler = "normal",
                    .quality = "high",
                    .seed = "18446744073709551615"};
    run.forecast_seconds = 30;
    run.observed_seconds = 25;
    run.observed_peak = Bytes::from_mib(4000);
    run.outcome = history::Outcome::Done;
    return run;
}

TEST(PastRuns, join_runs_of_the_same_settings_and_know_the_quality_that_they_promise) {
    history::MemoryStore store;
    history::RunRecord run = run_of("a", "sdxl-base", 28);
    run.changes.push_back({.knob = "tile_vae", .from = "", .to = "", .saved = {}, .seconds = 0});
    ASSERT_TRUE(store.record_run(run));
    run.run_id = "b";
    run.observed_seconds = 35;
    run.observed_peak = Bytes::from_mib(4100);
    ASSERT_TRUE(store.record_run(run));
    const auto past = past_runs_of(store, "sdxl-base", advisor::builtin_profiles());
    ASSERT_TRUE(past) << past.error().message;
    ASSERT_EQ(past->size(), 1U);
    EXPECT_EQ(past->front().settings, (advisor::Settings{.model = "sdxl-base",
                                                         .width = 1024,
                                                         .height = 832,
                                                         .steps = 28,
                                                         .cfg = 6.5,
                                                         .sampler = "euler",
                                                         .scheduler = "normal",
                                                         .batch = 2,
                                                         .vae_tiling = true}));
    EXPECT_EQ(past->front().seconds, 30);  // the mean of both
    EXPECT_EQ(past->front().peak, Bytes::from_mib(4100));
    EXPECT_EQ(past->front().quality, 0.75);  // 28 steps are "high"
    EXPECT_TRUE(past->front().completed);
}

TEST(PastRuns, know_the_change_that_tiles_by_the_advisors_name) {
    EXPECT_EQ(history::kTileVaeKnob, advisor::change_kind_name(advisor::ChangeKind::TileVae));
}

TEST(PastRuns, leave_out_failures_other_models_and_workflows_of_the_user) {
    history::MemoryStore store;
    history::RunRecord failed = run_of("failed", "sdxl-base", 20);
    failed.outcome = history::Outcome::OutOfMemory;
    history::RunRecord own = run_of("own", "sdxl-base", 20);
    own.settings = {};
    for (const auto& run : {failed, own, run_of("other", "3d-cartoon", 20),
                            run_of("by_file", "sd_xl_base_1.0.safetensors", 12)})
        ASSERT_TRUE(store.record_run(run));
    const auto past = past_runs_of(store, "sdxl-base", advisor::builtin_profiles());
    ASSERT_TRUE(past);
    ASSERT_EQ(past->size(), 1U);  // the one under the checkpoint's name
    EXPECT_EQ(past->front().quality, 0.25);
}

TEST(PastRuns, have_the_quality_that_a_session_measured_and_tell_settings_no_run_used) {
    history::MemoryStore store;
    ASSERT_TRUE(store.record_run(run_of("a", "sdxl-base", 28)));
    MeasuredQuality used;
    used.setting = {.checkpoint = "xl/sd_xl_base_1.0.safetensors",
                    .width = 1024,
                    .height = 832,
                    .steps = 28,
                    .cfg = 6.5,
                    .sampler = "euler",
                    .scheduler = "normal",
                    .vae_tiling = false};
    used.quality = 93;
    used.interval = {.low = 91, .high = 95};
    used.pairs = 8;
    used.seconds = 20;
    MeasuredQuality fresh = used;
    fresh.setting.steps = 14;
    fresh.quality = 88;
    fresh.seconds = 11;
    fresh.peak_bytes = 4'000'000'000;
    MeasuredQuality other_file = fresh;
    other_file.setting.checkpoint = "sd_xl_base_1.0_fp8.safetensors";
    other_file.setting.steps = 10;
    ASSERT_TRUE(store.keep_session({.session_id = "s",
                                    .model = "sdxl-base",
                                    .created_ms = 1,
                                    .plan_json = "{}",
                                    .progress_json = "{}",
                                    .findings_json = encode_findings({used, fresh, other_file})}));
    const auto past = past_runs_of(store, "sdxl-base", advisor::builtin_profiles());
    ASSERT_TRUE(past) << past.error().message;
    ASSERT_EQ(past->size(), 2U);
    EXPECT_EQ((*past)[0].quality, 0.93);
    EXPECT_EQ((*past)[0].seconds, 25);  // of the run itself
    EXPECT_EQ((*past)[1].settings.steps, 14);
    EXPECT_EQ((*past)[1].quality, 0.88);
    EXPECT_EQ((*past)[1].peak.count, 4'000'000'000);
}

TEST(PastRuns, pass_on_what_the_store_and_the_profiles_say) {
    history::MemoryStore store;
    store.fail_at(0);
    EXPECT_EQ(past_runs_of(store, "sdxl-base", advisor::builtin_profiles()).error().code,
              Errc::Unavailable);
    EXPECT_EQ(past_runs_of(store, "no such model", advisor::builtin_profiles()).error().code,
              Errc::NotFound);
}

}  // namespace
}  // namespace plimsoll::service
