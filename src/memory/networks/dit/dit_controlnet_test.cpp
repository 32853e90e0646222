// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_controlnet.h"

#include "modelfile/architectures.h"

#include <gtest/gtest.h>

#include <tuple>

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

// Goal: a ControlNet of Flux is as many of Flux's blocks without its last layer, an output for
// each, a row for each type and the hint's patches. Method: Flux itself, as deep, and the layers by
// hand.
TEST(DitControlNet, of_flux_weighs_fluxs_blocks_and_its_own_layers) {
    constexpr std::int64_t kWidth = 3072;
    constexpr auto linear = [](std::int64_t from, std::int64_t to) { return from * to + to; };
    const auto flux = [&](int doubles, int singles) {
        const auto network =
            build_flux({.depth = doubles, .depth_single_blocks = singles}).value()->params();
        return network - linear(kWidth, 64) - linear(kWidth, 2 * kWidth);
    };
    EXPECT_EQ(controlnet("flux_union")->params(),
              flux(5, 10) + 15 * linear(kWidth, kWidth) + 10 * kWidth + linear(64, kWidth));
    EXPECT_EQ(controlnet("flux_inpainting_beta")->params(),
              flux(6, 0) + 6 * linear(kWidth, kWidth) + linear(68, kWidth));
    // Eight convolutions of 3 x 3: three colours to 16 channels, then 16 to 16.
    EXPECT_EQ(controlnet("flux_xlabs")->params(), flux(2, 0) + 2 * linear(kWidth, kWidth) +
                                                      linear(64, kWidth) + linear(27, 16) +
                                                      7 * linear(9 * 16, 16));
}

// Goal: as above for Qwen-Image, both kinds of blocks, and a type costs its token of text. Method:
// Flux two and two deep; the hint is a latent or an image of 8 x 8 pixels a cell.
TEST(DitControlNet, of_flux_leaves_a_tensor_for_each_of_its_blocks) {
    const auto network = build_flux({.depth = 2, .depth_single_blocks = 2}).value();
    StepCall call{.batch = 1,
                  .latent_height = 64,
                  .latent_width = 64,
                  .tokens = 256,
                  .storage = ComputeType::BFloat16,
                  .compute = ComputeType::BFloat16};
    const Walk alone = simulate_step(*network, call);
    for (const auto& [name, tensors, hint] :
         {std::tuple{"flux_union", 15, 16 * 64 * 64}, std::tuple{"flux_xlabs", 2, 3 * 512 * 512}}) {
        const auto control = controlnet(name);
        call.controlnet = control.get();
        const Walk controlled = simulate_step(*network, call);
        EXPECT_EQ((controlled.peak + controlled.input - alone.peak - alone.input).count,
                  std::int64_t{tensors} * 32 * 32 * 3072 * 2 + hint * 2)
            << name;
    }
    const auto control = controlnet("flux_union");
    const Walk typed = simulate_controlnet(*control, call);
    call.control_types = 0;
    const Walk untyped = simulate_controlnet(*control, call);
    EXPECT_GT(typed.costs.total().flops, untyped.costs.total().flops);
    EXPECT_LT(typed.costs.total().flops - untyped.costs.total().flops,
              untyped.costs.total().flops / 500);  // a token of 1280
    EXPECT_GT(typed.peak.count, 15 * 32 * 32 * 3072 * 2);
}

TEST(DitControlNet, refuses_numbers_that_no_network_has) {
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.num_layers = 0}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.attention_head_dim = -128}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenControlConfig{.extra_condition_channels = 3}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenFunControlConfig{.num_blocks = -1}));
    EXPECT_FALSE(build_controlnet(modelfile::QwenFunControlConfig{.hint_channels = 16}));
    EXPECT_FALSE(build_controlnet(modelfile::Sd35ControlConfig{.depth = 1 << 20}));
    EXPECT_FALSE(build_controlnet(modelfile::Sd35ControlConfig{.in_channels = 0}));
    EXPECT_FALSE(build_controlnet(modelfile::FluxControlConfig{.depth = 0}));
    EXPECT_FALSE(build_controlnet(modelfile::FluxControlConfig{.union_modes = 1 << 20}));
    EXPECT_FALSE(build_controlnet(modelfile::FluxControlConfig{.mistoline = true}));
    EXPECT_FALSE(build_controlnet(modelfile::FluxControlConfig{.hint_channels = -16}));
}

}  // namespace
}  // namespace plimsoll::memory
