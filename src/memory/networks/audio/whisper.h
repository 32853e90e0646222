// SPDX-License-Identifier: Apache-2.0
//
// Whisper's encoder (Radford et al. 2022): thirty seconds of sound, padded or cut, as a spectrogram
// whose columns a transformer reads.
#pragma once
#include "memory/networks/audio/audio_encoder.h"
#include "memory/networks/audio/audio_encoder_layers.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

class WhisperNetwork final : public AudioEncoder {
  public:
    explicit WhisperNetwork(const modelfile::WhisperConfig& config);
    [[nodiscard]] std::vector<Tensor> hear(Tape& tape, const HearCall& call) const override;
    [[nodiscard]] std::string_view title() const override { return "Whisper"; }

  private:
    [[nodiscard]] Tensor see_sound(Tape& tape) const;

    modelfile::WhisperConfig config_;
    Module spectrogram_;
    Conv1d conv1_;
    Conv1d conv2_;
    Module positions_;
    std::vector<AudioEncoderLayer> layers_;
    LayerNorm norm_;
};

}  // namespace plimsoll::memory
