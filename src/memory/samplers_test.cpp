// SPDX-License-Identifier: Apache-2.0
#include "memory/samplers.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

TEST(SamplerForwards, counts_the_evaluations_of_each_order) {
    EXPECT_EQ(sampler_forwards("euler", 20), 20);
    EXPECT_EQ(sampler_forwards("dpmpp_2m", 20), 20);  // multistep: second order from memory
    EXPECT_EQ(sampler_forwards("heun", 20), 39);      // the last step ends at zero noise: one
    EXPECT_EQ(sampler_forwards("dpmpp_sde", 20), 39);
    EXPECT_EQ(sampler_forwards("seeds_3", 20), 58);
    EXPECT_EQ(sampler_forwards("heunpp2", 20), 57);
    EXPECT_EQ(sampler_forwards("heunpp2", 1), 1);
    EXPECT_EQ(sampler_forwards("heun", 1), 1);
    EXPECT_EQ(sampler_forwards("euler", 0), 0);
    EXPECT_EQ(sampler_forwards("somebodys_own", 7), 7);
}

TEST(SamplerTraits, tell_which_samplers_run_the_negative_at_cfg_1) {
    EXPECT_TRUE(sampler_traits("euler_cfg_pp")->needs_uncond);
    EXPECT_FALSE(sampler_traits("euler")->needs_uncond);
    EXPECT_TRUE(sampler_traits("dpm_adaptive")->adaptive);
    EXPECT_FALSE(sampler_traits("somebodys_own").has_value());
}

}  // namespace
}  // namespace plimsoll::memory
