// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/walk.h"

#include "modelfile/architectures.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

std::shared_ptr<const Denoiser> unet(std::string_view name) {
    return build_unet(modelfile::known_unet(name).value()).value();
}

std::shared_ptr<const KlVaeNetwork> vae(std::string_view name) {
    return build_kl_vae(modelfile::known_kl_vae(name).value()).value();
}

// The sampler's own tensors: sums of two conditions, latents, sigma and conditions in one batch.
TEST(UnetStep, with_cfg_needs_little_more_than_its_forward) {
    const auto sdxl = unet("sdxl");
    StepCall call{.batch = 2};
    const Walk forward = simulate_step(*sdxl, call);
    call.entry = StepEntry::SamplingFunction;
    const Walk sampling = simulate_step(*sdxl, call);
    EXPECT_GT(sampling.peak, forward.peak);
    EXPECT_LT((sampling.peak - forward.peak).mib(), 4.0);
    EXPECT_EQ(sampling.costs.total().flops, forward.costs.total().flops);
}

TEST(UnetStep, one_condition_at_a_time_halves_the_activations) {
    const auto sdxl = unet("sdxl");
    StepCall call{.entry = StepEntry::SamplingFunction, .batch = 2};
    const Walk both = simulate_step(*sdxl, call);
    call.batch = 1;
    call.conds = 1;
    const Walk one = simulate_step(*sdxl, call);
    EXPECT_NEAR(static_cast<double>(one.peak.count) / static_cast<double>(both.peak.count), 0.5,
                0.02);
}

TEST(UnetStep, with_a_controlnet_keeps_its_tensors_until_the_decoder_takes_them) {
    const auto sd15 = unet("sd15");
    const auto controlnet = build_controlnet(modelfile::known_controlnet("sd15").value()).value();
    StepCall call{
        .entry = StepEntry::SamplingFunction, .batch = 2, .latent_height = 64, .latent_width = 64};
    const Walk plain = simulate_step(*sd15, call);
    call.controlnet = controlnet.get();
    const Walk controlled = simulate_step(*sd15, call);
    EXPECT_GT(controlled.peak, plain.peak);
    EXPECT_THAT(plain.peak_module, testing::HasSubstr("output_blocks"));
    EXPECT_THAT(controlled.peak_module, testing::HasSubstr("input_blocks"));
}

TEST(UnetStep, stored_in_fp8_copies_one_layer_at_a_time) {
    const auto sdxl = unet("sdxl");
    StepCall call{.storage = ComputeType::Float8E4M3};
    const Walk cast = simulate_step(*sdxl, call);
    call.storage = ComputeType::Float16;
    const Walk same = simulate_step(*sdxl, call);
    EXPECT_EQ(cast.peak, same.peak);
    EXPECT_EQ(same.max_cast, Bytes(0));
    // The largest layer: a 3x3 convolution from 2560 to 1280 channels and its bias, in fp16.
    EXPECT_EQ(cast.max_cast, Bytes((2560 * 1280 * 9 + 1280) * 2));
    EXPECT_EQ(cast.weights * 2, same.weights);
}

TEST(UnetStep, walks_the_same_from_any_number_of_calls) {
    const auto koala = unet("koala_700m");
    const Walk first = simulate_step(*koala, {.latent_height = 97, .latent_width = 55});
    const Walk second = simulate_step(*koala, {.latent_height = 97, .latent_width = 55});
    EXPECT_EQ(first.peak, second.peak);
    EXPECT_EQ(first.costs.total().flops, second.costs.total().flops);
    EXPECT_EQ(first.top_live.size(), 8U);
}

TEST(VaeDecode, keeps_the_middle_block_since_comfyui_0_33) {
    const auto kl4 = vae("kl4");
    VaeCall call;
    const Walk before = simulate_vae_decode(*kl4, call);
    call.rules.comfyui_minor_key = 33000;
    const Walk since = simulate_vae_decode(*kl4, call);
    EXPECT_EQ(since.peak - before.peak, Bytes(512 * 128 * 128 * 2));
}

TEST(VaeDecode, of_a_tile_needs_what_an_image_of_its_size_needs) {
    const auto kl16 = vae("kl16");
    const Walk whole = simulate_vae_decode(*kl16, {.height = 1024, .width = 1024});
    const Walk tile = simulate_vae_decode(*kl16, {.height = 512, .width = 512});
    EXPECT_NEAR(static_cast<double>(whole.peak.count) / static_cast<double>(tile.peak.count), 4.0,
                0.01);
}

TEST(TextEncode, in_sd2_normalises_the_hidden_state) {
    const auto clip = build_clip(modelfile::known_clip("clip_h").value()).value();
    ClipCall call;
    const Walk last = simulate_text_encode(*clip, call);
    call.stop_at_hidden_minus_two = true;
    const Walk hidden = simulate_text_encode(*clip, call);
    // One copy, one more layer norm, and the casts of its two weights.
    EXPECT_EQ(hidden.costs.total().kernels, last.costs.total().kernels + 4);
}

}  // namespace
}  // namespace plimsoll::memory
