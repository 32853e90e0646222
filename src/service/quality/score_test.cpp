// SPDX-License-Identifier: Apache-2.0
// Goal: a score is the measured one exactly where these settings of this file were compared, else a
// promise that says so. Method: a store with the findings of a session.
#include "service/quality/score.h"

#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

constexpr int kSteps = 20;

class Score : public testing::Test {
  protected:
    void SetUp() override {
        const MeasuredQuality found{.setting = {.checkpoint = "xl/sd_xl_base_1.0.safetensors",
                                                .width = 1024,
                                                .height = 1024,
                                                .steps = kSteps,
                                                .cfg = 7,
                                                .sampler = "euler",
                                                .scheduler = "normal"},
                                    .quality = 91,
                                    .interval = {.low = 88, .high = 94},
                                    .pairs = 24,
                                    .seconds = 30,
                                    .peak_bytes = 1,
                                    .is_chosen = true};
        ASSERT_TRUE(store_.keep_session({.session_id = "s",
                                         .model = "sdxl-base",
                                         .created_ms = 1,
                                         .plan_json = "{}",
                                         .progress_json = "{}",
                                         .findings_json = encode_findings({found})}));
    }
    QualityScore score(int steps, int side = 1024) {
        return read_score(store_, settings(steps, side), advisor::builtin_profiles()).value();
    }
    static advisor::Settings settings(int steps, int side) {
        return {.model = "sdxl-base",
                .width = side,
                .height = side,
                .steps = steps,
                .cfg = 7,
                .sampler = "euler",
                .scheduler = "normal"};
    }
    history::MemoryStore store_;
};

TEST_F(Score, is_measured_where_these_settings_were_compared) {
    const QualityScore found = score(kSteps);
    EXPECT_EQ(found.basis, ScoreBasis::Measured);
    EXPECT_EQ(found.points, 91);
    EXPECT_EQ(found.interval.low, 88);
    EXPECT_EQ(found.interval.high, 94);
    EXPECT_EQ(found.words, "measured in 24 comparisons");
}

TEST_F(Score, is_an_estimate_for_settings_that_were_not_and_says_so) {
    for (const QualityScore& found : {score(kSteps + 1), score(kSteps, 768)}) {
        EXPECT_EQ(found.basis, ScoreBasis::Estimate);
        EXPECT_EQ(found.comparisons, 0U);
        EXPECT_EQ(found.words.code(), "score.others");
        EXPECT_LT(found.interval.low, found.interval.high);
    }
}

TEST_F(Score, promises_no_less_for_more_steps) {
    double before = 0;
    for (const int steps : {8, 14, 22, 35, 50}) {
        const QualityScore found = score(steps);
        EXPECT_GE(found.points, before) << steps;
        before = found.points;
    }
    EXPECT_EQ(before, 100);
}

TEST_F(Score, of_a_model_without_a_test_says_that_there_is_none) {
    history::MemoryStore empty;
    const auto found = read_score(empty, settings(kSteps, 1024), advisor::builtin_profiles());
    ASSERT_TRUE(found);
    EXPECT_EQ(found->words.code(), "score.no_test");
    EXPECT_EQ(found->basis, ScoreBasis::Estimate);
}

}  // namespace
}  // namespace plimsoll::service
