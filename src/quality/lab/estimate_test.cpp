// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/estimate.h"

#include "quality/lab/draws.h"
#include "quality/lab/student.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace plimsoll::quality {
namespace {

double normal(Draws& draws) {
    const double unit = (static_cast<double>(draws.next() >> 11U) + 0.5) * 0x1.0p-53;
    return normal_quantile(unit);
}

// Prompts with an effect of their own, seeds within them.
std::vector<Difference> made(Draws& draws, std::size_t prompts, std::size_t seeds, double truth,
                             double prompt_scatter, double seed_scatter) {
    std::vector<Difference> out;
    for (std::size_t p = 0; p < prompts; ++p) {
        const double shared = prompt_scatter * normal(draws);
        for (std::size_t s = 0; s < seeds; ++s)
            out.push_back({.block = {.prompt = p, .seed = s},
                           .points = truth + shared + seed_scatter * normal(draws)});
    }
    return out;
}

// Goal: 95 % means 95 %, whatever part of the scatter the prompts share. Method: 400 draws from a
// known truth; 93 to 98 % is what 400 tries can tell from 95.
TEST(Estimate, holds_the_truth_as_often_as_it_says) {
    for (const double shared : {0.0, 1.0, 3.0}) {
        Draws draws(11);
        int held = 0;
        int above = 0;
        constexpr int kTries = 400;
        for (int i = 0; i < kTries; ++i) {
            const Estimate found = estimate_difference(made(draws, 8, 3, -2, shared, 2),
                                                       static_cast<std::uint64_t>(i));
            held += found.interval.low <= -2 && -2 <= found.interval.high;
            above += found.lower_bound <= -2;
        }
        EXPECT_GE(held, 0.925 * kTries) << shared;
        EXPECT_LE(held, 0.985 * kTries) << shared;
        EXPECT_GE(above, 0.92 * kTries) << shared;
    }
}

TEST(Estimate, does_not_count_seeds_of_one_prompt_as_so_many_prompts) {
    Draws draws(5);
    // Seeds agree, prompts do not: more seeds must not narrow the interval.
    const std::vector<Difference> many = made(draws, 4, 16, 0, 5, 0.01);
    const Estimate found = estimate_difference(many, 1);
    EXPECT_EQ(found.pairs, 64U);
    EXPECT_EQ(found.clusters, 4U);
    EXPECT_GT(found.standard_error, 1);
}

TEST(Estimate, speaks_of_a_single_prompt_by_its_seeds) {
    Draws draws(5);
    const Estimate found = estimate_difference(made(draws, 1, 12, -1, 9, 1), 1);
    EXPECT_EQ(found.clusters, 12U);
    EXPECT_LT(found.interval.high - found.interval.low, 3);
}

TEST(Estimate, claims_nothing_of_fewer_than_two_pairs) {
    const std::vector<Difference> one{{.block = {}, .points = 4}};
    const Estimate found = estimate_difference(one, 1);
    EXPECT_TRUE(std::isinf(found.interval.high));
    EXPECT_EQ(found.p_not_worse(3), 1);
    EXPECT_EQ(estimate_difference({}, 1).pairs, 0U);
}

TEST(Estimate, is_the_same_for_the_same_seed) {
    Draws draws(9);
    const std::vector<Difference> seen = made(draws, 6, 2, 1, 1, 1);
    EXPECT_EQ(estimate_difference(seen, 3).interval.low, estimate_difference(seen, 3).interval.low);
}

TEST(Estimate, at_a_glance_leans_on_the_usual_scatter_where_pairs_are_few) {
    const std::vector<Difference> alike{{.block = {.prompt = 0, .seed = 0}, .points = -2},
                                        {.block = {.prompt = 1, .seed = 0}, .points = -2}};
    // Two equal differences are luck, not certainty.
    EXPECT_GT(glance_at_difference(alike, 5).standard_error, 2);
    EXPECT_LT(glance_at_difference(alike, 0.5).standard_error, 0.5);
}

TEST(Estimate, is_told_with_its_interval_and_without_a_negative_nothing) {
    Estimate estimate;
    estimate.points = -0.04;
    estimate.interval = {.low = -1.3, .high = 0.06};
    EXPECT_EQ(points_text(estimate), "0.0 (-1.3 to +0.1)");
}

}  // namespace
}  // namespace plimsoll::quality
