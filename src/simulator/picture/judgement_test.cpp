// SPDX-License-Identifier: Apache-2.0
#include "simulator/picture/judgement.h"

#include <gtest/gtest.h>

#include <cmath>

namespace plimsoll::simulator {
namespace {

PictureSettings with(int steps, std::string_view sampler = "dpmpp_2m", double cfg = 6) {
    return {.width = 1024,
            .height = 1024,
            .steps = steps,
            .cfg = cfg,
            .sampler = sampler,
            .scheduler = "karras",
            .native_side = 1024};
}

TEST(Judgement, grows_with_steps_and_saturates) {
    for (std::uint64_t model = 0; model < 50; ++model) {
        const double few = true_quality(with(8), model);
        const double usual = true_quality(with(20), model);
        const double many = true_quality(with(40), model);
        EXPECT_LT(few, usual);
        EXPECT_LE(usual, many);
        EXPECT_LT(many - usual, usual - few);
    }
}

TEST(Judgement, is_true_on_average_over_prompts) {
    const PictureSettings settings = with(12, "euler");
    double sum = 0;
    constexpr int kPrompts = 20'000;
    for (int prompt = 0; prompt < kPrompts; ++prompt)
        sum += judged_quality(settings, 7, static_cast<std::uint64_t>(prompt), 1);
    // The scatter over prompts is below 20 points, so the mean's is below 0.15.
    EXPECT_NEAR(sum / kPrompts, true_quality(settings, 7), 0.5);
}

// SD of the difference of two settings over blocks.
double scatter(const PictureSettings& a, const PictureSettings& b) {
    double sum = 0;
    double squares = 0;
    constexpr int kBlocks = 2000;
    for (std::uint64_t block = 0; block < kBlocks; ++block) {
        const double d = judged_quality(a, 3, block, 5) - judged_quality(b, 3, block, 5);
        sum += d;
        squares += d * d;
    }
    const double mean = sum / kBlocks;
    return std::sqrt(squares / kBlocks - mean * mean);
}

TEST(Judgement, tells_pairs_of_one_composition_apart_more_easily) {
    const double same = scatter(with(28), with(40));
    EXPECT_LT(same, 6);
    EXPECT_GT(scatter(with(28, "euler_ancestral"), with(40, "euler_ancestral")), same + 1);
    EXPECT_GT(scatter(with(28, "dpmpp_2m", 4), with(28, "dpmpp_2m", 7)), same + 1);
}

TEST(Judgement, says_the_same_of_the_same_picture) {
    EXPECT_EQ(judged_quality(with(20), 1, 2, 3), judged_quality(with(20), 1, 2, 3));
    EXPECT_NE(judged_quality(with(20), 1, 2, 3), judged_quality(with(20), 1, 2, 4));
}

}  // namespace
}  // namespace plimsoll::simulator
