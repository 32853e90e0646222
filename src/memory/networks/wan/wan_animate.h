// SPDX-License-Identifier: Apache-2.0
//
// Wan 2.2 Animate (Alibaba 2025): a character moves as a video of poses does, and its face as a
// video of a face; after every fifth block each frame attends to its face's motion.
#pragma once
#include "memory/networks/wan/face_motion.h"
#include "memory/networks/wan/wan.h"

#include <vector>

namespace plimsoll::memory {

class WanAnimateNetwork final : public WanNetwork {
  public:
    explicit WanAnimateNetwork(const modelfile::WanConfig& config);

    // `more`: the encoded image, the poses' latent and the face's pictures, both without the first
    // latent frame.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;

  private:
    struct FaceBlock {
        Module path;
        Linear kv;
        Linear q;
        Linear out;
        RmsNorm q_norm;
        RmsNorm k_norm;
        LayerNorm norm_tokens;
        LayerNorm norm_motion;
    };
    [[nodiscard]] Tensor embed_face(Tape& tape, const Tensor& pictures, std::int64_t frames) const;
    [[nodiscard]] Tensor forward_face(Tape& tape, const FaceBlock& block, const Tensor& x,
                                      const Tensor& motion) const;

    Conv3d pose_embedding_;
    FaceMotionEncoder motion_;
    std::vector<FaceBlock> face_blocks_;
    FaceEncoder face_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_wan_animate(
    const modelfile::WanConfig& config);

}  // namespace plimsoll::memory
