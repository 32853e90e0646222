// SPDX-License-Identifier: Apache-2.0
//
// The vision transformers of CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023) as ComfyUI
// runs them: an image in, its tokens of the last layer and of the one before, and a pooled one out.
#pragma once
#include "memory/networks/clip_text.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

using modelfile::ClipVisionConfig;

struct ClipVisionCall {
    int batch = 1;
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float32;
    ForwardRules rules = {};
    bool every_layer = false;  // tokens of all layers are wanted, not of the last but one
};

class ClipVisionNetwork final : public RegisteredNetwork {
  public:
    explicit ClipVisionNetwork(const ClipVisionConfig& config);
    // Everything that is alive when the call returns.
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const Tensor& pixels,
                                             bool every_layer) const;
    [[nodiscard]] const ClipVisionConfig& config() const { return config_; }

  private:
    [[nodiscard]] Tensor embed(Tape& tape, const Tensor& pixels) const;
    [[nodiscard]] bool has_class() const { return config_.projection > 0; }
    [[nodiscard]] std::int64_t tokens() const;

    ClipVisionConfig config_;
    Module embeddings_;
    Conv2d patches_;
    Module positions_;
    std::optional<LayerNorm> norm_in_;
    Module encoder_;
    std::vector<ClipLayer> layers_;
    LayerNorm norm_out_;
    std::optional<Linear> projection_;
};

[[nodiscard]] Result<std::shared_ptr<const ClipVisionNetwork>> build_clip_vision(
    const ClipVisionConfig& config);
[[nodiscard]] Walk simulate_image_encode(const ClipVisionNetwork& network,
                                         const ClipVisionCall& call);

}  // namespace plimsoll::memory
