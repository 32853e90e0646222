// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_audio_vae.h"

#include "modelfile/architectures.h"

#include <gtest/gtest.h>

#include <vector>

namespace plimsoll::memory {
namespace {

std::shared_ptr<const LtxAudioVaeNetwork> network_of(std::string_view name) {
    return build_ltx_audio_vae(*modelfile::known_vae_as<modelfile::LtxAudioVaeConfig>(name))
        .value();
}

// Goal: the sound is as long as the published rates say. Method: 25 latents are 97 frames of the
// spectrogram at 100 a second (the first latent stands for one), in 24 kHz of LTX-2 and 48 kHz of
// LTX 2.3.
TEST(LtxAudioVae, makes_sound_at_the_rate_of_its_version) {
    const auto samples_of = [](std::string_view name) {
        ghost::Tape tape({});
        const Tensor z = tape.input({1, 8, 25, 16}, ghost::ElementType::Float32);
        return network_of(name)->decode(tape, z).shape().dims();
    };
    EXPECT_EQ(samples_of("ltx2_audio"), (std::vector<std::int64_t>{1, 2, 97 * 240}));
    EXPECT_EQ(samples_of("ltx2.3_audio"), (std::vector<std::int64_t>{1, 2, 97 * 480}));
}

// Goal: what is encoded has the latents that ComfyUI makes of it. Method: 9 seconds, which it cuts
// to 96 x 4096 samples: 142,664 at 16 kHz, 892 frames, 223 latents of 16 bins; and the walk of as
// many.
TEST(LtxAudioVae, encodes_a_sound_to_the_latents_of_its_seconds) {
    const auto vae = network_of("ltx2_audio");
    EXPECT_EQ(vae->sound()->latents_of(9), 223);
    ghost::Tape tape({});
    const Tensor samples = tape.input({1, 2, 96 * 4096}, ghost::ElementType::Float32);
    EXPECT_EQ(vae->encode(tape, samples).shape().dims(),
              (std::vector<std::int64_t>{1, 8, 223, 16}));
}

// Goal: an encoder that keeps every block's result is not priced as one that drops them. Method: at
// the peak, in the finest level's last block or later, conv_in's result and two blocks' are there:
// 128 channels of 892 x 64 numbers, and the temporaries of a block, at least two more.
TEST(LtxAudioVae, keeps_every_level_while_it_encodes) {
    const auto vae = network_of("ltx2_audio");
    const VaeCall call{.latents = 223,
                       .compute = ComputeType::Float32,
                       .storage = ComputeType::Float32,
                       .rules = {.comfyui_minor_key = 33000}};
    const Walk walk = vae->simulate_encode(call);
    const std::int64_t plane = std::int64_t{128} * 892 * 64 * 4;
    EXPECT_GT(walk.peak.count, 5 * plane);
    EXPECT_LT(walk.peak.count, 8 * plane);
}

// Goal: the second vocoder's rate has to fit the first one's. Method: rates that do not.
TEST(LtxAudioVae, refuses_vocoders_that_do_not_follow_each_other) {
    auto config = *modelfile::known_vae_as<modelfile::LtxAudioVaeConfig>("ltx2.3_audio");
    ASSERT_TRUE(config.bandwidth.has_value());
    config.bandwidth->output_sampling_rate = 96000;
    EXPECT_FALSE(build_ltx_audio_vae(config).has_value());
    config.bandwidth->output_sampling_rate = 48000;
    config.bandwidth->hop_length = 0;
    EXPECT_FALSE(build_ltx_audio_vae(config).has_value());
}

}  // namespace
}  // namespace plimsoll::memory
