// SPDX-License-Identifier: Apache-2.0
//
// ControlNet (Zhang et al. 2023): the encoder half of a UNet with a stem for the hint and a 1x1
// convolution after each block; also the union variants that take several control types in one
// network.
#pragma once
#include "memory/networks/unet.h"

namespace plimsoll::memory {

// The transformer layer with which a union ControlNet weighs a hint by its type (ControlNet++).
class UnionTransformer {
  public:
    UnionTransformer(Registry& registry, std::int64_t width);
    // `seq`: [N, 1, width], one pooled hint.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& seq) const;

  private:
    Module path_;
    Module attention_path_;
    Module act_;
    Linear in_proj_;
    Linear out_proj_;
    LayerNorm norm1_;
    Linear fc_;
    Linear proj_;
    LayerNorm norm2_;
};

struct ControlInputs {
    const Tensor& x;
    const Tensor& hint;
    const Tensor& timesteps;
    const Tensor& context;
    const Tensor& y;        // undefined where the network takes none
    int control_types = 1;  // of a union ControlNet: 0 where the workflow names no type
};

class ControlNetNetwork final : public RegisteredNetwork {
  public:
    explicit ControlNetNetwork(const modelfile::ControlNetConfig& config);

    [[nodiscard]] const modelfile::ControlNetConfig& config() const { return config_; }

    struct Output {
        Shape shape;
        bool middle = false;
    };
    // What forward() returns for latents of this size, without running it.
    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const;

  private:
    [[nodiscard]] Tensor forward_hint(Tape& tape, const Tensor& hint) const;
    [[nodiscard]] Tensor embed_control_types(Tape& tape, ghost::ElementType type) const;
    [[nodiscard]] Tensor weigh_hint(Tape& tape, const Tensor& hint) const;

    modelfile::ControlNetConfig config_;
    Module root_;
    std::optional<EmbeddingMlp> time_embed_;
    std::optional<EmbeddingMlp> label_emb_;
    EncoderHalf encoder_;
    std::vector<Conv2d> zero_convs_;
    std::vector<Conv2d> hint_convs_;
    std::vector<Module> hint_acts_;
    BlockSequence middle_;
    std::optional<Conv2d> middle_out_;
    Module control_add_root_ = nullptr;
    std::optional<UnionTransformer> union_transformer_;
    std::optional<Linear> spatial_projection_;
    std::optional<Linear> control_add_1_;
    std::optional<Linear> control_add_2_;
};

}  // namespace plimsoll::memory
