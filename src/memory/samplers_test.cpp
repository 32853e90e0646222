// SPDX-License-Identifier: Apache-2.0
// Goal: the network runs as often as ComfyUI's samplers call it. Method: the published algorithms
// counted by hand for a few steps, and the list of ComfyUI's own samplers.
#include "memory/samplers.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

TEST(SamplerForwards, knows_every_sampler_that_comfyui_offers) {
    // sampler_name of KSampler in /object_info of ComfyUI 0.3.64 and 0.33.0.
    for (const std::string_view name : {"euler",
                                        "euler_cfg_pp",
                                        "euler_ancestral",
                                        "euler_ancestral_cfg_pp",
                                        "heun",
                                        "heunpp2",
                                        "exp_heun_2_x0",
                                        "exp_heun_2_x0_sde",
                                        "dpm_2",
                                        "dpm_2_ancestral",
                                        "lms",
                                        "dpm_fast",
                                        "dpm_adaptive",
                                        "dpmpp_2s_ancestral",
                                        "dpmpp_2s_ancestral_cfg_pp",
                                        "dpmpp_sde",
                                        "dpmpp_sde_gpu",
                                        "dpmpp_2m",
                                        "dpmpp_2m_cfg_pp",
                                        "dpmpp_2m_sde",
                                        "dpmpp_2m_sde_gpu",
                                        "dpmpp_2m_sde_heun",
                                        "dpmpp_2m_sde_heun_gpu",
                                        "dpmpp_3m_sde",
                                        "dpmpp_3m_sde_gpu",
                                        "ddpm",
                                        "lcm",
                                        "ipndm",
                                        "ipndm_v",
                                        "deis",
                                        "res_multistep",
                                        "res_multistep_cfg_pp",
                                        "res_multistep_ancestral",
                                        "res_multistep_ancestral_cfg_pp",
                                        "gradient_estimation",
                                        "gradient_estimation_cfg_pp",
                                        "er_sde",
                                        "seeds_2",
                                        "seeds_3",
                                        "sa_solver",
                                        "sa_solver_pece",
                                        "ddim",
                                        "uni_pc",
                                        "uni_pc_bh2"}) {
        const auto traits = sampler_traits(name);
        ASSERT_TRUE(traits) << name;
        EXPECT_EQ(traits->needs_uncond, name.ends_with("_cfg_pp")) << name;
        EXPECT_GE(sampler_forwards(name, 1), 1) << name;
    }
    EXPECT_FALSE(sampler_traits("of_a_custom_node"));
    EXPECT_EQ(sampler_forwards("of_a_custom_node", 12), 12);
}

TEST(SamplerForwards, counts_one_a_step_for_multistep_methods) {
    for (const std::string_view name :
         {"euler", "lms", "dpm_fast", "dpmpp_2m", "dpmpp_2m_sde_heun", "ddim", "uni_pc", "lcm"})
        EXPECT_EQ(sampler_forwards(name, 20), 20) << name;
}

TEST(SamplerForwards, saves_the_second_forward_where_the_noise_reaches_zero) {
    for (const std::string_view name :
         {"heun", "dpm_2", "dpmpp_2s_ancestral", "dpmpp_sde", "seeds_2", "exp_heun_2_x0"}) {
        EXPECT_EQ(sampler_forwards(name, 20), 39) << name;
        EXPECT_EQ(sampler_forwards(name, 1), 1) << name;
        EXPECT_EQ(sampler_forwards(name, 20, Ending::LeftoverNoise), 40) << name;
    }
    EXPECT_EQ(sampler_forwards("seeds_3", 20), 58);
    EXPECT_EQ(sampler_forwards("seeds_3", 20, Ending::LeftoverNoise), 60);
}

TEST(SamplerForwards, saves_at_the_ends_where_the_method_always_does) {
    // Heun++: one forward in the last step, two in the last but one, three in all others.
    EXPECT_EQ(sampler_forwards("heunpp2", 1), 1);
    EXPECT_EQ(sampler_forwards("heunpp2", 2), 3);
    EXPECT_EQ(sampler_forwards("heunpp2", 20), 57);
    EXPECT_EQ(sampler_forwards("heunpp2", 20, Ending::LeftoverNoise), 57);
    EXPECT_EQ(sampler_forwards("sa_solver_pece", 20, Ending::LeftoverNoise), 39);
}

TEST(SamplerTraits, tell_which_samplers_run_the_negative_at_cfg_1) {
    EXPECT_TRUE(sampler_traits("euler_cfg_pp")->needs_uncond);
    EXPECT_FALSE(sampler_traits("euler")->needs_uncond);
    EXPECT_TRUE(sampler_traits("dpm_adaptive")->adaptive);
    EXPECT_FALSE(sampler_traits("somebodys_own").has_value());
}

TEST(SamplerForwards, of_no_steps_are_none_and_of_an_adaptive_sampler_its_own) {
    EXPECT_EQ(sampler_forwards("euler", 0), 0);
    EXPECT_EQ(sampler_forwards("heun", -1), 0);
    EXPECT_EQ(sampler_forwards("dpm_adaptive", 1), sampler_forwards("dpm_adaptive", 100));
}

TEST(ScheduledSteps, overshoot_only_for_ddim_uniform) {
    for (const std::string_view scheduler : {"simple", "sgm_uniform", "karras", "exponential",
                                             "beta", "normal", "linear_quadratic", "kl_optimal"})
        for (const int steps : {1, 20, 30})
            EXPECT_EQ(scheduled_steps(scheduler, "euler", steps), steps);
    EXPECT_EQ(scheduled_steps("ddim_uniform", "ddim", 20), 20);
    EXPECT_EQ(scheduled_steps("ddim_uniform", "ddim", 30), 31);  // 1, 34, ... 991
    EXPECT_EQ(scheduled_steps("ddim_uniform", "ddim", 50), 50);
    EXPECT_EQ(scheduled_steps("ddim_uniform", "ddim", 2000), 999);
    EXPECT_EQ(scheduled_steps("ddim_uniform", "uni_pc", 30), 31);  // 32 by a stride of 32, less one
    EXPECT_EQ(scheduled_steps("ddim_uniform", "ddim", 0), 0);
}

}  // namespace
}  // namespace plimsoll::memory
