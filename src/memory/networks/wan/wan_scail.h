// SPDX-License-Identifier: Apache-2.0
//
// SCAIL (2025), on Wan 2.1: a character of a reference image moves as a video of poses does. The
// reference is one more frame before the video's, the poses' tokens come after them.
#pragma once
#include "memory/networks/wan/wan.h"

namespace plimsoll::memory {

class WanScailNetwork final : public WanNetwork {
  public:
    explicit WanScailNetwork(const modelfile::WanConfig& config);

    // `more`: the encoded image, the poses' latent (half the video's size), the reference's.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;

  private:
    Conv3d pose_embedding_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan_scail(
    const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
