// SPDX-License-Identifier: Apache-2.0
//
// ControlNet (Zhang et al. 2023): the encoder half of a UNet with a stem for the hint and a 1x1
// convolution after each block; also the union variants that take several control types in one
// network. The ControlNets of other networks are behind the same class.
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
    const Tensor& y;         // undefined where the network takes none
    const Tensor& guidance;  // the same
    int control_types = 1;   // of a union ControlNet: 0 where the workflow names no type
};

class ControlNetNetwork : public RegisteredNetwork {
  public:
    struct Output {
        Shape shape;
        bool middle = false;
        bool single = false;  // for the blocks of one stream
    };
    // What forward() returns for latents of this size, without running it.
    [[nodiscard]] virtual std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                            std::int64_t width) const = 0;
    [[nodiscard]] virtual ControlTensors forward(Tape& tape, const ControlInputs& inputs) const = 0;
    // What the caller holds: latents, timesteps and conditions in fp32.
    [[nodiscard]] virtual StepInputs make_inputs(Tape& tape, const StepCall& call) const = 0;
    [[nodiscard]] virtual Tensor make_hint(Tape& tape, const StepCall& call,
                                           std::int64_t batch) const = 0;
    // Of the network that is controlled.
    [[nodiscard]] virtual Prediction prediction() const = 0;
    // Whether ComfyUI encodes the hint with the VAE that the node was given, at the first step.
    [[nodiscard]] virtual bool encodes_hint() const { return false; }
};

class UnetControlNet final : public ControlNetNetwork {
  public:
    explicit UnetControlNet(const modelfile::ControlNetConfig& config);

    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const override;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const override;
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const StepCall& call) const override;
    [[nodiscard]] Tensor make_hint(Tape& tape, const StepCall& call,
                                   std::int64_t batch) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Eps; }

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
