// SPDX-License-Identifier: Apache-2.0
//
// Wan-Animate-2 (Alibaba 2026): a character of a reference image, the video's first latent frame,
// moves as in a driving video. That video passes the same blocks in a branch of its own; every
// frame attends to the frame of the branch that drives it, beside all frames of its own video.
#pragma once
#include "memory/networks/wan/wan.h"

namespace plimsoll::memory {

class WanAnimate2Network final : public WanNetwork {
  public:
    explicit WanAnimate2Network(const modelfile::WanConfig& config) : WanNetwork(config) {}

    // `more`: the encoded image, the driving video's latent (without the first frame), its encoded
    // image and its text.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;

  private:
    struct Keys {  // of a block of the driving branch
        Tensor k;
        Tensor v;
    };
    struct Buffers {  // taken once for all blocks
        Tensor k;
        Tensor v;
        Tensor out;
    };
    [[nodiscard]] Tensor embed_driving(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Buffers take_buffers(Tape& tape, const Tensor& x, std::int64_t frame) const;
    [[nodiscard]] WanTokens contiguous(Tape& tape, const WanTokens& x) const;
    [[nodiscard]] WanTokens drive(Tape& tape, const WanBlock& block, const WanTokens& x,
                                  const WanConditions& given, Keys& keys) const;
    [[nodiscard]] WanTokens generate(Tape& tape, const WanBlock& block, const WanTokens& x,
                                     const WanConditions& given, const Keys& keys,
                                     const Buffers& buffers) const;
    [[nodiscard]] Tensor attend(Tape& tape, const WanBlock& block, const Tensor& in,
                                const WanConditions& given, const Keys& keys,
                                const Buffers& buffers) const;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan_animate2(
    const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
