// SPDX-License-Identifier: Apache-2.0
//
// ControlNets of diffusion transformers: blocks of the network that is controlled, and a Linear
// layer after each, whose result is added to that network's tokens. The hint is a latent.
//
// Sources: diffusers' controlnet_qwenimage.py and Stability AI's sd3.5 (Apache-2.0, MIT); which
// tensors live when ComfyUI runs them.
#pragma once
#include "memory/networks/controlnet.h"
#include "memory/networks/dit/mmdit.h"
#include "memory/networks/dit/qwen_image.h"
#include "modelfile/networks/dit_control_config.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

class QwenControlNet final : public ControlNetNetwork {
  public:
    explicit QwenControlNet(const modelfile::QwenControlConfig& config);

    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const override;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const override;
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const StepCall& call) const override;
    [[nodiscard]] Tensor make_hint(Tape& tape, const StepCall& call,
                                   std::int64_t batch) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] bool encodes_hint() const override { return true; }

  private:
    modelfile::QwenControlConfig config_;
    modelfile::QwenImageConfig base_;
    QwenWidths widths_;
    QwenTrunk trunk_;
    std::vector<Linear> outs_;
    Linear hint_in_;
};

// It embeds latents, text and time with the layers of the network that it controls, which is on the
// card beside it: those layers are walked, but not its own.
class QwenFunControlNet final : public ControlNetNetwork {
  public:
    explicit QwenFunControlNet(const modelfile::QwenFunControlConfig& config);

    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const override;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const override;
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const StepCall& call) const override;
    [[nodiscard]] Tensor make_hint(Tape& tape, const StepCall& call,
                                   std::int64_t batch) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] bool encodes_hint() const override { return true; }

  private:
    struct Block {
        Module path;
        QwenBlock block;
        std::optional<Linear> before;
        Linear after;
    };
    // Zeros for the mask and the image to fill, then patches.
    [[nodiscard]] Tensor hint_tokens(Tape& tape, const Tensor& hint) const;

    modelfile::QwenFunControlConfig config_;
    modelfile::QwenImageConfig base_config_;
    QwenWidths widths_;
    Module root_;
    Registry base_registry_;
    QwenTrunk base_;
    Linear hint_in_;
    std::vector<Block> blocks_;
};

class Sd35ControlNet final : public ControlNetNetwork {
  public:
    explicit Sd35ControlNet(const modelfile::Sd35ControlConfig& config);

    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const override;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const override;
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const StepCall& call) const override;
    [[nodiscard]] Tensor make_hint(Tape& tape, const StepCall& call,
                                   std::int64_t batch) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] bool encodes_hint() const override { return true; }

  private:
    struct Block {
        Module path;
        MmditStream stream;
    };
    [[nodiscard]] Tensor embed(Tape& tape, Module module, const Conv2d& proj,
                               const Tensor& latent) const;
    [[nodiscard]] Tensor run_block(Tape& tape, const Block& block, const Tensor& x,
                                   const Tensor& c) const;

    modelfile::Sd35ControlConfig config_;
    MmditWidths widths_;
    Module root_;
    Module x_embedder_;
    Conv2d x_proj_;
    MlpEmbedder t_embedder_;
    MlpEmbedder orig_y_embedder_;
    MlpEmbedder y_embedder_;
    std::vector<Block> blocks_;
    std::vector<Linear> outs_;
    Module hint_embedder_;
    Conv2d hint_proj_;
};

[[nodiscard]] Result<std::shared_ptr<const ControlNetNetwork>> build_qwen_controlnet(
    const modelfile::QwenControlConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ControlNetNetwork>> build_qwen_fun_controlnet(
    const modelfile::QwenFunControlConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ControlNetNetwork>> build_sd35_controlnet(
    const modelfile::Sd35ControlConfig& config);

}  // namespace plimsoll::memory
