// SPDX-License-Identifier: Apache-2.0
//
// HuMo (ByteDance 2025), on Wan 2.1: people of a reference image speak what an audio track says.
// The reference is one more frame after the video's; every block attends to the audio.
#pragma once
#include "memory/networks/wan/wan.h"

namespace plimsoll::memory {

inline constexpr std::int64_t kHumoAudioWidth = 1536;

class WanHumoNetwork final : public WanNetwork {
  public:
    explicit WanHumoNetwork(const modelfile::WanConfig& config);

    // `more`: the audio as Whisper encodes it, the reference's latent.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;

  private:
    [[nodiscard]] Tensor embed_audio(Tape& tape, Tensor audio) const;

    Module audio_path_;
    Linear audio_in_;
    Linear audio_hidden_;
    Linear audio_out_;
    LayerNorm audio_norm_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan_humo(
    const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
