// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_patches.h"

#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

constexpr std::int64_t linear(std::int64_t from, std::int64_t to) {
    return from * to + to;
}

std::shared_ptr<const ModelPatchNetwork> patch(std::string_view name) {
    return build_model_patch(modelfile::known_model_patch(name).value()).value();
}

StepCall call_of(int side, int tokens) {
    return {.batch = 1,
            .latent_height = side,
            .latent_width = side,
            .tokens = tokens,
            .storage = ComputeType::BFloat16,
            .compute = ComputeType::BFloat16,
            .conds = 1,
            .rules = {.comfyui_minor_key = kComfy033}};
}

std::int64_t needed(const Denoiser& network, StepCall call, const ModelPatchNetwork* with) {
    call.entry = StepEntry::SamplingFunction;
    call.patch = with;
    const Walk walk = simulate_step(network, call);
    return (walk.peak + walk.input).count;
}

// Goal: the patches are those that are published. Method: their layers, written out from the
// publishers' descriptions.
TEST(ModelPatch, has_the_parameters_of_its_layers) {
    constexpr std::int64_t kQwen = 3072;
    EXPECT_EQ(patch("qwen_image_diffsynth")->params(),
              linear(64, kQwen) + 60 * (2 * kQwen + 2 * linear(kQwen, kQwen)));
    // Two blocks of Z-Image refine, six feed the network; the first of those has a layer before it.
    constexpr std::int64_t kWide = 3840;
    constexpr std::int64_t kBlock = 3 * kWide * kWide + kWide * kWide + 3 * kWide * 10240 +
                                    2 * 128 + 4 * kWide + linear(256, 4 * kWide);
    EXPECT_EQ(patch("z_image_fun_union")->params(),
              8 * kBlock + 7 * linear(kWide, kWide) + linear(4 * 16, kWide));
    // Of LLLite each network beside a projection has an embedding of its own.
    constexpr std::int64_t kBeside =
        linear(2048, 64) + linear(128, 64) + linear(64, 128) + linear(64, 2048) + 64;
    constexpr std::int64_t kConv = 9 * 128 * 128 + 128;
    constexpr std::int64_t kEye = 4 * 64 * 16 + 64 + 9 * 64 * 64 + 64 + 64 * 128 * 16 + 128 +
                                  2 * (64 + 64 + 128) + 8 * (kConv + 2 * 128) + linear(128, 64) +
                                  2 * 64;
    EXPECT_EQ(patch("anima_lllite_inpainting")->params(), 28 * 4 * kBeside + kEye);
}

// Goal: a patch's tensors are part of the step. Method: networks of two blocks with and without.
TEST(ModelPatch, takes_its_tensors_in_the_networks_forward) {
    modelfile::QwenImageConfig qwen;
    qwen.num_layers = 2;
    const auto qwen_network = build_denoiser(qwen).value();
    const StepCall call = call_of(64, 64);
    const auto qwen_patch = patch("qwen_image_diffsynth");
    const std::int64_t tokens = 32 * 32;
    // At the peak, inside a block, only the control image's tokens are there: fp32, 3072 wide.
    EXPECT_EQ(needed(*qwen_network, call, qwen_patch.get()) - needed(*qwen_network, call, nullptr),
              tokens * 3072 * 4);

    const auto z_image = build_denoiser(modelfile::known_model("z_image").value().denoiser).value();
    const auto z_patch = patch("z_image_fun_union");
    // Its own tokens and what it made of them last, in 16 bit, besides what the layers read.
    const std::int64_t more =
        needed(*z_image, call, z_patch.get()) - needed(*z_image, call, nullptr);
    EXPECT_GE(more, tokens * 3840 * 2);
    EXPECT_LE(more, 4 * tokens * 3840 * 2);

    const auto anima = build_denoiser(modelfile::known_model("anima").value().denoiser).value();
    const auto lllite = patch("anima_lllite_inpainting");
    EXPECT_GT(needed(*anima, call, lllite.get()), needed(*anima, call, nullptr));
}

TEST(ModelPatch, refuses_numbers_that_no_network_has) {
    EXPECT_FALSE(build_model_patch(modelfile::QwenPatchConfig{.num_layers = 0}));
    EXPECT_FALSE(build_model_patch(modelfile::QwenPatchConfig{.dim = -1}));
    EXPECT_FALSE(build_model_patch(modelfile::ZImagePatchConfig{.n_control_layers = 1 << 30}));
    EXPECT_FALSE(build_model_patch(modelfile::AnimaPatchConfig{.cond_dim = 1}));
    EXPECT_FALSE(build_model_patch(modelfile::AnimaPatchConfig{.aspp_dilations = {0}}));
}

}  // namespace
}  // namespace plimsoll::memory
