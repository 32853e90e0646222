// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/minimax_h3.h"

#include "memory/networks/vae.h"
#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

modelfile::MiniMaxH3Config pruned_int8() {
    auto config = std::get<modelfile::MiniMaxH3Config>(
        modelfile::known_model("minimax_h3_pruned").value().denoiser);
    config.int8_blocks = true;
    return config;
}

StepCall small_call() {
    return {.batch = 1,
            .latent_height = 30,
            .latent_width = 52,
            .tokens = 256,
            .storage = ComputeType::Int8,
            .compute = ComputeType::BFloat16,
            .conds = 1,
            .latent_frames = 7,
            .audio_latents = 37,
            .rules = {.comfyui_minor_key = kComfy033}};
}

// Goal: the pruned network is the one that is published. Method: the size of its file in int8, from
// the publisher's listing; the projections of time are stored in 16 bit and kept in 32.
TEST(MiniMaxH3, pruned_and_in_int8_weighs_what_its_file_does) {
    constexpr double kFileBytes = 20'970'379'616;
    constexpr double kWidened = 50.0 * 18 * 5376 * (8 + 1) * 2;
    const auto network = build_minimax_h3(pruned_int8()).value();
    const auto bytes = static_cast<double>(network->weights(ComputeType::Int8).count);
    EXPECT_NEAR(bytes - kWidened, kFileBytes, kFileBytes * 0.001);
}

TEST(MiniMaxH3, layers_in_int8_are_not_cast) {
    const auto network = build_minimax_h3(pruned_int8()).value();
    const Walk walk = simulate_step(*network, small_call());
    EXPECT_EQ(walk.max_cast, Bytes(0));
}

// A reference's cells are tokens of the sequence: four cells of it are as many as four of the
// video's.
TEST(MiniMaxH3, references_lengthen_the_sequence) {
    const auto network = build_minimax_h3(pruned_int8()).value();
    StepCall with_reference = small_call();
    with_reference.references.push_back({.frames = 1, .height = 30, .width = 52});
    StepCall longer = small_call();
    longer.latent_frames += 1;
    const auto peak = [&](const StepCall& call) {
        return static_cast<double>(simulate_step(*network, call).peak.count);
    };
    EXPECT_GT(peak(with_reference), peak(small_call()) * 1.05);
    EXPECT_NEAR(peak(with_reference), peak(longer), peak(longer) * 0.01);
}

TEST(MiniMaxH3, refuses_a_table_that_no_network_has) {
    modelfile::MiniMaxH3Config config = pruned_int8();
    config.adaln_curve_grid = -1;
    EXPECT_FALSE(build_minimax_h3(config));
}

// Clips of seventeen frames are five latent ones, but the last clip's last three are dropped.
TEST(VaeGrid, counts_frames_in_clips_where_they_are_coded_in_clips) {
    const VaeGrid clips = build_vae(modelfile::known_vae("minimax_h3").value()).value()->grid();
    for (const auto& [frames, latents] : {std::pair{1, 1}, {5, 2}, {22, 7}, {56, 17}, {124, 37}}) {
        EXPECT_EQ(clips.latent_frames(frames), latents) << frames;
        EXPECT_EQ(clips.pixel_frames(latents), frames) << latents;
    }
    const VaeGrid fours{.pixels_per_cell = 8, .frames_per_cell = 4, .latent_channels = 16};
    EXPECT_EQ(fours.latent_frames(17), 5);
    EXPECT_EQ(fours.pixel_frames(5), 17);
    EXPECT_EQ(fours.coded_frames(20), 17);
    EXPECT_EQ(clips.coded_frames(20), 20);
}

}  // namespace
}  // namespace plimsoll::memory
