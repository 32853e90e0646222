// SPDX-License-Identifier: Apache-2.0
//
// Flux (Black Forest Labs 2024) and what differs from it in numbers: Flux 2, LongCat-Image.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/flux_blocks.h"
#include "modelfile/networks/flux_config.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

class FluxNetwork final : public Denoiser {
  public:
    explicit FluxNetwork(const modelfile::FluxConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override {
        return plain_schedule() ? Prediction::FlowScaled : Prediction::Flow;
    }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_condition(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor forward_tokens(Tape& tape, const StepInputs& in, const Tensor& patches,
                                        const Tensor& img_ids, const Tensor& txt_ids) const;
    // ComfyUI's plain flow schedule is schnell's, which has a pooled text but no guidance, and
    // Ovis-Image's.
    [[nodiscard]] bool plain_schedule() const {
        return (vector_in_ || config_.yak_mlp) && !guidance_in_;
    }

    modelfile::FluxConfig config_;
    FluxWidths widths_;
    Module root_;
    Module pe_;
    Linear img_in_;
    MlpEmbedder time_in_;
    std::optional<MlpEmbedder> vector_in_;
    std::optional<MlpEmbedder> guidance_in_;
    std::optional<RmsNorm> txt_norm_;
    Linear txt_in_;
    std::vector<FluxDoubleBlock> double_blocks_;
    std::vector<FluxSingleBlock> single_blocks_;
    FluxFinalLayer final_layer_;
    // Flux 2: one for all blocks of a kind.
    struct GlobalModulation {
        FluxModulation img;
        FluxModulation txt;
        FluxModulation single;
    };
    std::optional<GlobalModulation> modulation_;
};

}  // namespace plimsoll::memory
