// SPDX-License-Identifier: Apache-2.0
//
// LTX-2's VAE for sound: spectrograms of two channels, 4 frames of 4 bins to a latent cell, causal
// in time; then the vocoder.
#pragma once
#include "memory/networks/ltx/ltx_audio_layers.h"
#include "memory/networks/ltx/ltx_vocoder.h"
#include "memory/networks/vae.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class LtxAudioVaeNetwork final : public Vae {
  public:
    explicit LtxAudioVaeNetwork(const modelfile::LtxAudioVaeConfig& config);

    [[nodiscard]] const modelfile::LtxAudioVaeConfig& config() const { return config_; }
    // `z`: [N, channels, latents, bins]. Gives samples.
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& z) const;
    // `samples`: [N, 2, samples at 44.1 kHz]. Gives latents.
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& samples) const {
        return encoder_->forward(tape, samples);
    }

    [[nodiscard]] VaeKind kind() const override { return VaeKind::LtxSound; }
    [[nodiscard]] VaeGrid grid() const override { return {}; }  // it has no pixels
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    [[nodiscard]] bool knows(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    struct Level {
        Module upsample_path;
        std::vector<LtxAudioResidual> blocks;
        std::optional<LtxAudioConv> upsample;
    };
    [[nodiscard]] Level make_level(std::size_t index);
    [[nodiscard]] Tensor denormalise(Tape& tape, const Tensor& z) const;
    [[nodiscard]] Tensor decode_mel(Tape& tape, const Tensor& z) const;

    modelfile::LtxAudioVaeConfig config_;
    Module root_;
    Module norm_out_;
    Module act_;
    std::optional<LtxAudioEncoder> encoder_;
    std::optional<LtxAudioConv> conv_in_;
    std::vector<LtxAudioResidual> middle_;
    std::vector<Level> levels_;  // finest first
    std::optional<LtxAudioConv> conv_out_;
    std::optional<LtxVocoder> vocoder_;
    std::optional<LtxBandwidthExtension> bandwidth_;
};

struct LtxAudioVaeCall {
    int batch = 1;
    std::int64_t latents = 1;
    ComputeType compute = ComputeType::Float32;
    ComputeType storage = ComputeType::Float32;
    ForwardRules rules = {};
};

[[nodiscard]] Result<std::shared_ptr<const LtxAudioVaeNetwork>> build_ltx_audio_vae(
    const modelfile::LtxAudioVaeConfig& config);
[[nodiscard]] Walk simulate_ltx_audio_vae_decode(const LtxAudioVaeNetwork& vae,
                                                 const LtxAudioVaeCall& call);

}  // namespace plimsoll::memory
