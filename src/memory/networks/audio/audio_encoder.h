// SPDX-License-Identifier: Apache-2.0
//
// AudioEncoder: a network that listens. What each of its layers thought of every moment is what
// videos of speech are made after. ComfyUI loads it as it loads text encoders.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "modelfile/networks/audio_encoder_config.h"

#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct HearCall {
    double seconds = 10;  // of the sound
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
};

class AudioEncoder : public RegisteredNetwork {
  public:
    // Everything that is alive when the node returns: the states of all layers stay on the card.
    [[nodiscard]] virtual std::vector<Tensor> hear(Tape& tape, const HearCall& call) const = 0;
    [[nodiscard]] virtual std::string_view title() const = 0;  // "Whisper"
};

[[nodiscard]] Result<std::shared_ptr<const AudioEncoder>> build_audio_encoder(
    const modelfile::AudioEncoderConfig& config);
[[nodiscard]] Walk simulate_hearing(const AudioEncoder& network, const HearCall& call);

}  // namespace plimsoll::memory
