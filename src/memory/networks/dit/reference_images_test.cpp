// SPDX-License-Identifier: Apache-2.0
//
// Goal: reference images lengthen what a network reads as its forward does. Method: a step with a
// reference beside one of an image that is larger by as much.
#include "memory/networks/denoiser.h"
#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

std::shared_ptr<const Denoiser> network(std::string_view name) {
    return build_denoiser(modelfile::known_model(name).value().denoiser).value();
}

StepCall call_of(int height, int width) {
    return {.entry = StepEntry::SamplingFunction,
            .batch = 1,
            .latent_height = height,
            .latent_width = width,
            .tokens = 128,
            .storage = ComputeType::BFloat16,
            .compute = ComputeType::BFloat16,
            .conds = 1,
            .rules = {.comfyui_minor_key = kComfy033}};
}

double needed(const Denoiser& of, const StepCall& call) {
    const Walk walk = simulate_step(of, call);
    return static_cast<double>((walk.peak + walk.input).count);
}

TEST(ReferenceImages, of_krea2_are_tokens_once_a_method_is_named) {
    const auto krea2 = network("krea2");
    StepCall call = call_of(64, 64);
    const double alone = needed(*krea2, call);
    call.references.push_back({1, 64, 64});
    EXPECT_LT(needed(*krea2, call), alone * 1.01);  // ComfyUI leaves them out
    call.reference_method = ReferenceMethod::Index;
    const double twice = needed(*krea2, call_of(64, 128));
    EXPECT_NEAR(needed(*krea2, call), twice, twice * 0.02);
    // Modulated in place, as of timestep zero: less than one by one.
    call.reference_method = ReferenceMethod::IndexTimestepZero;
    EXPECT_LT(needed(*krea2, call), twice);
    EXPECT_GT(needed(*krea2, call), alone * 1.3);
}

TEST(ReferenceImages, of_hidream_e1_stand_beside_the_latent) {
    const auto hidream = network("hidream_i1");
    StepCall call = call_of(64, 64);
    call.references.push_back({1, 64, 64});
    const double twice = needed(*hidream, call_of(64, 128));
    EXPECT_NEAR(needed(*hidream, call), twice, twice * 0.02);
}

// One image of the same size: as many patches again, and 144 tokens that the eye makes of it.
TEST(ReferenceImages, of_hidream_o1_are_patches_and_part_of_the_prompt) {
    const auto o1 = network("hidream_o1");
    StepCall call = call_of(1024, 1024);
    call.references.push_back({1, 1024, 1024});
    StepCall longer = call_of(1024, 2048);
    longer.tokens += 146;
    const double expected = needed(*o1, longer);
    // But for the sampler's own pixels, which the longer image has more of.
    EXPECT_LT(needed(*o1, call), expected);
    EXPECT_GT(needed(*o1, call), expected * 0.85);
    // The more there are, the smaller each: four take as many patches as one.
    call.references.assign(4, {1, 1024, 1024});
    longer.tokens += 3 * 146;
    const double four = needed(*o1, longer);
    EXPECT_LT(needed(*o1, call), four);
    EXPECT_GT(needed(*o1, call), four * 0.85);
}

TEST(ReferenceImages, of_wan_are_tokens_behind_the_videos) {
    const auto wan = network("wan_t2v_1.3b");
    StepCall call = call_of(60, 104);
    call.latent_frames = 4;
    StepCall longer = call;
    longer.latent_frames = 5;
    call.references.push_back({1, 60, 104});
    const double expected = needed(*wan, longer);
    EXPECT_NEAR(needed(*wan, call), expected, expected * 0.03);
}

TEST(QwenImageLayered, has_a_frame_of_tokens_for_every_layer) {
    const auto layered = network("qwen_image_layered");
    const auto plain = network("qwen_image");
    EXPECT_EQ(layered->params() - plain->params(), 2 * 3072);
    StepCall call = call_of(64, 64);
    call.latent_frames = 3;
    const double expected = needed(*plain, call_of(3 * 64, 64));
    EXPECT_NEAR(needed(*layered, call), expected, expected * 0.001);
}

// Blocks of two and of one stream, written out; and the norm of the text.
TEST(OvisImage, has_the_parameters_of_its_layers) {
    constexpr std::int64_t kWidth = 3072;
    constexpr auto linear = [](std::int64_t from, std::int64_t to) { return from * to + to; };
    constexpr std::int64_t kStream = linear(kWidth, 6 * kWidth) + linear(kWidth, 3 * kWidth) +
                                     2 * 128 + linear(kWidth, kWidth) +
                                     2 * linear(kWidth, 4 * kWidth) + linear(4 * kWidth, kWidth);
    constexpr std::int64_t kSingle = linear(kWidth, 3 * kWidth + 8 * kWidth) +
                                     linear(kWidth + 4 * kWidth, kWidth) + 2 * 128 +
                                     linear(kWidth, 3 * kWidth);
    constexpr std::int64_t kRest = linear(64, kWidth) + linear(256, kWidth) +
                                   linear(kWidth, kWidth) + 2048 + linear(2048, kWidth) +
                                   linear(kWidth, 2 * kWidth) + linear(kWidth, 64);
    EXPECT_EQ(network("ovis_image")->params(), 6 * 2 * kStream + 27 * kSingle + kRest);
}

}  // namespace
}  // namespace plimsoll::memory
