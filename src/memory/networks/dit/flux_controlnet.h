// SPDX-License-Identifier: Apache-2.0
//
// ControlNets of Flux: its first blocks of both kinds, and a Linear layer after each, whose result
// is added to Flux's tokens. The hint is a latent (InstantX, Shakker-Labs, alimama, Jasper) or an
// image that convolutions fold to one (XLabs, MistoLine). A union of several is told its type by
// one more token of text.
//
// Sources: diffusers' controlnet_flux.py and XLabs' x-flux (both Apache-2.0); which tensors live
// when ComfyUI runs them.
#pragma once
#include "memory/networks/controlnet.h"
#include "memory/networks/dit/flux.h"
#include "modelfile/networks/dit_control_config.h"

#include <vector>

namespace plimsoll::memory {

class FluxControlNet final : public ControlNetNetwork {
  public:
    explicit FluxControlNet(const modelfile::FluxControlConfig& config);

    [[nodiscard]] std::vector<Output> output_shapes(std::int64_t batch, std::int64_t height,
                                                    std::int64_t width) const override;
    [[nodiscard]] ControlTensors forward(Tape& tape, const ControlInputs& inputs) const override;
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const StepCall& call) const override;
    [[nodiscard]] Tensor make_hint(Tape& tape, const StepCall& call,
                                   std::int64_t batch) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] bool encodes_hint() const override { return !config_.pixel_hint; }

  private:
    // Convolutions with SiLU between, which fold 8 x 8 pixels.
    struct Stem {
        std::vector<Conv2d> convs;
        std::vector<Module> acts;
    };
    // What makes a tensor of a block's tokens. MistoLine's has a SiLU behind it.
    struct Out {
        Linear linear;
        Module act = nullptr;
        [[nodiscard]] Tensor forward(Tape& tape, const Tensor& tokens, bool slice) const;
    };
    [[nodiscard]] static std::vector<Out> make_outs(Registry& r, std::string_view name, int count,
                                                    const modelfile::FluxControlConfig& config);
    [[nodiscard]] static Stem make_stem(Registry& r, const modelfile::FluxControlConfig& config);
    [[nodiscard]] Tensor hint_tokens(Tape& tape, const Tensor& hint) const;

    modelfile::FluxControlConfig config_;
    modelfile::FluxConfig base_;
    FluxTrunk trunk_;
    std::vector<Out> outs_;
    std::vector<Out> single_outs_;
    Module mode_embedder_ = nullptr;
    Linear hint_in_;
    Stem stem_;
};

[[nodiscard]] Result<std::shared_ptr<const ControlNetNetwork>> build_flux_controlnet(
    const modelfile::FluxControlConfig& config);

}  // namespace plimsoll::memory
