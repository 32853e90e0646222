// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_controlnet.h"

#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

std::shared_ptr<const ControlNetNetwork> controlnet(std::string_view name) {
    return build_controlnet(modelfile::known_controlnet(name).value()).value();
}

// Goal: the two ControlNets of Qwen-Image differ by one block, its output layer and the mask's
// channels. Method: the layers of the paper's block, written out.
TEST(DitControlNet, a_block_more_weighs_a_block_of_qwen_image_more) {
    constexpr std::int64_t kWidth = 3072;
    constexpr auto linear = [](std::int64_t from, std::int64_t to) { return from * to + to; };
    constexpr std::int64_t kStream = linear(kWidth, 6 * kWidth) + 4 * linear(kWidth, kWidth) +
                                     2 * 128 + linear(kWidth, 4 * kWidth) +
                                     linear(4 * kWidth, kWidth);
    const std::int64_t more =
        controlnet("qwen_image_inpainting")->params() - controlnet("qwen_image_union")->params();
    EXPECT_EQ(more, 2 * kStream + linear(kWidth, kWidth) + 4 * kWidth);
}

// Goal: a ControlNet's tensors stay while the network runs, and are of the sizes that it says.
// Method: Qwen-Image of its 60 blocks' width but two deep, with and without.
TEST(DitControlNet, its_tensors_live_beside_the_network_that_it_controls) {
    modelfile::QwenImageConfig config;
    config.num_layers = 2;
    const auto network = build_denoiser(config).value();
    const auto control = controlnet("qwen_image_union");
    StepCall call{.batch = 1,
                  .latent_height = 64,
                  .latent_width = 64,
                  .tokens = 64,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16,
                  .rules = {.comfyui_minor_key = kComfy033}};
    const Walk alone = simulate_step(*network, call);
    call.controlnet = control.get();
    const Walk controlled = simulate_step(*network, call);
    std::int64_t tensors = 0;
    for (const auto& output : control->output_shapes(1, 64, 64))
        tensors += output.shape.elements() * 2;
    EXPECT_EQ(tensors, 5 * 32 * 32 * 3072 * 2);
    EXPECT_EQ((controlled.peak + controlled.input - alone.peak - alone.input).count,
              tensors + 16 * 64 * 64 * 2);  // and the hint
}

// Five blocks of Qwen-Image, a layer behind each and one before the first, and the hint's patches.
TEST(DitControlNet, of_fun_weighs_its_own_blocks_only) {
    constexpr std::int64_t kWidth = 3072;
    constexpr auto linear = [](std::int64_t from, std::int64_t to) { return from * to + to; };
    constexpr std::int64_t kStream = linear(kWidth, 6 * kWidth) + 4 * linear(kWidth, kWidth) +
                                     2 * 128 + linear(kWidth, 4 * kWidth) +
                                     linear(4 * kWidth, kWidth);
    EXPECT_EQ(
        controlnet("qwen_image_fun_union")->params(),
        5 * (2 * kStream + linear(kWidth, kWidth)) + linear(kWidth, kWidth) + linear(132, kWidth));
}

TEST(DitControlNet, refuses_numbers_that_no_network_has) {
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.num_layers = 0}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.attention_head_dim = -128}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.extra_condition_channels = 3}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenFunControlConfig{.num_blocks = -1}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenFunControlConfig{.hint_channels = 16}));
    EXPECT_FALSE(build_controlnet(modelfile::Sd35ControlConfig{.depth = 1 << 20}));
    EXPECT_FALSE(build_controlnet(modelfile::Sd35ControlConfig{.in_channels = 0}));
}

}  // namespace
}  // namespace plimsoll::memory
