// SPDX-License-Identifier: Apache-2.0
//
// The VAE of ACE-Step: spectrograms between sound and latents. Sounds of a batch run one by one.
#pragma once
#include "memory/networks/audio/dcae.h"
#include "memory/networks/audio/music_vocoder.h"
#include "memory/networks/vae.h"
#include "modelfile/networks/music_dcae_config.h"

#include <cstdint>
#include <memory>
#include <optional>

namespace plimsoll::memory {

class MusicDcaeNetwork final : public Vae {
  public:
    explicit MusicDcaeNetwork(const modelfile::MusicDcaeConfig& config);

    [[nodiscard]] VaeKind kind() const override { return VaeKind::MusicDcae; }
    [[nodiscard]] VaeGrid grid() const override {
        return {.pixels_per_cell = 1, .latent_channels = config_.latent_channels};
    }
    [[nodiscard]] std::optional<SoundGrid> sound() const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    // Without the workspace of the Fourier transform.
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;

  private:
    [[nodiscard]] std::int64_t factor() const;  // mel frames, and mels, of a latent cell
    [[nodiscard]] Tensor decode(Tape& tape, const Tensor& latents) const;
    [[nodiscard]] Tensor encode(Tape& tape, const Tensor& samples) const;
    [[nodiscard]] Tensor spectrogram(Tape& tape, const Tensor& samples) const;

    modelfile::MusicDcaeConfig config_;
    Module root_;
    DcEncoder encoder_;
    DcDecoder decoder_;
    MusicVocoder vocoder_;
    Module window_;
    Module mel_scale_;
};

// Fails with InvalidInput when the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const MusicDcaeNetwork>> build_music_dcae(
    const modelfile::MusicDcaeConfig& config);

}  // namespace plimsoll::memory
