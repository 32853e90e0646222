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
