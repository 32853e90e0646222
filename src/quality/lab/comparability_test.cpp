// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/comparability.h"

#include <gtest/gtest.h>

namespace plimsoll::quality {
namespace {

Setting with(const std::string& sampler, int steps, const std::string& scheduler = "karras") {
    Setting s;
    s.sampler = sampler;
    s.steps = steps;
    s.scheduler = scheduler;
    return s;
}

bool valid(const Setting& candidate, const Setting& reference) {
    const Comparability found = comparability(candidate, reference);
    EXPECT_EQ(found.full_reference, found.why.empty());
    return found.full_reference;
}

TEST(Comparability, lets_solvers_of_one_equation_meet_at_any_steps_and_schedule) {
    const Setting reference = with("dpmpp_2m", 60);
    EXPECT_TRUE(valid(with("dpmpp_2m", 12), reference));
    EXPECT_TRUE(valid(with("euler", 20, "normal"), reference));
    EXPECT_TRUE(valid(with("uni_pc", 10, "simple"), reference));
}

TEST(Comparability, refuses_another_cfg_and_another_size) {
    const Setting reference = with("dpmpp_2m", 60);
    Setting cfg = reference;
    cfg.cfg = 4;
    EXPECT_FALSE(valid(cfg, reference));
    Setting size = reference;
    size.width = 768;
    EXPECT_FALSE(valid(size, reference));
}

TEST(Comparability, refuses_ancestral_samplers_unless_only_the_decode_or_precision_differs) {
    const Setting reference = with("euler_ancestral", 40);
    EXPECT_FALSE(valid(with("euler_ancestral", 20), reference));
    EXPECT_FALSE(valid(with("euler_ancestral_cfg_pp", 20), with("euler_ancestral_cfg_pp", 40)));
    Setting tiled = reference;
    tiled.vae_tiling = true;
    EXPECT_TRUE(valid(tiled, reference));
    Setting fp8 = reference;
    fp8.checkpoint = "model_fp8.safetensors";
    EXPECT_TRUE(valid(fp8, reference));
}

TEST(Comparability, keeps_seeded_paths_to_their_own_sampler_and_schedule) {
    const Setting reference = with("dpmpp_2m_sde", 60);
    EXPECT_TRUE(valid(with("dpmpp_2m_sde", 20), reference));
    EXPECT_FALSE(valid(with("dpmpp_2m_sde", 20, "normal"), reference));
    EXPECT_FALSE(valid(with("dpmpp_2m_sde", 20), with("dpmpp_2m", 60)));
    EXPECT_FALSE(valid(with("dpmpp_2m", 20), reference));
}

TEST(Comparability, keeps_cfg_pp_to_itself_and_does_not_guess_about_strangers) {
    EXPECT_TRUE(valid(with("euler_cfg_pp", 20), with("euler_cfg_pp", 60, "normal")));
    EXPECT_FALSE(valid(with("euler_cfg_pp", 20), with("euler", 60)));
    EXPECT_FALSE(valid(with("brand_new", 20), with("brand_new", 60)));
}

}  // namespace
}  // namespace plimsoll::quality
