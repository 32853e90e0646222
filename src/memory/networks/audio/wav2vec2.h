// SPDX-License-Identifier: Apache-2.0
//
// wav2vec 2.0 (Baevski et al. 2020): convolutions make 50 moments of a second of sound, a
// transformer reads them.
#pragma once
#include "memory/networks/audio/audio_encoder.h"
#include "memory/networks/audio/audio_encoder_layers.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Wav2Vec2Network final : public AudioEncoder {
  public:
    explicit Wav2Vec2Network(const modelfile::Wav2Vec2Config& config);
    [[nodiscard]] std::vector<Tensor> hear(Tape& tape, const HearCall& call) const override;
    [[nodiscard]] std::string_view title() const override { return "wav2vec 2.0"; }

  private:
    struct Shortener {
        Conv1d conv;
        std::optional<LayerNorm> norm;
        std::optional<GroupNorm> norm_over_time;
    };
    [[nodiscard]] Shortener make_shortener(std::size_t number);
    [[nodiscard]] Tensor shorten(Tape& tape, std::size_t number, const Tensor& x) const;
    [[nodiscard]] Tensor place(Tape& tape, const Tensor& x) const;

    modelfile::Wav2Vec2Config config_;
    Module root_;
    std::vector<Shortener> shorteners_;
    LayerNorm projection_norm_;
    Linear projection_;
    Module positions_;
    std::vector<AudioEncoderLayer> layers_;
    LayerNorm norm_;
};

}  // namespace plimsoll::memory
