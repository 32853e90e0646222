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

// The layers between tokens and the blocks' last result, which Flux's ControlNets have too.
struct FluxTrunk {
    FluxTrunk(Registry& registry, const modelfile::FluxConfig& config);

    // The vector of timestep, guidance and pooled text, in `type`; the latter two where they are
    // given.
    [[nodiscard]] Tensor embed_condition(Tape& tape, const Tensor& timesteps,
                                         const Tensor& guidance, const Tensor& y,
                                         ghost::ElementType type) const;

    FluxWidths widths;
    Module root;
    Module pe;
    Linear img_in;
    MlpEmbedder time_in;
    std::optional<MlpEmbedder> vector_in;
    std::optional<MlpEmbedder> guidance_in;
    std::optional<RmsNorm> txt_norm;
    Linear txt_in;
    std::vector<FluxDoubleBlock> double_blocks;
    std::vector<FluxSingleBlock> single_blocks;
};

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
    [[nodiscard]] Tensor forward_tokens(Tape& tape, const StepInputs& in, const Tensor& patches,
                                        const Tensor& img_ids, const Tensor& txt_ids) const;
    // ComfyUI's plain flow schedule is schnell's, which has a pooled text but no guidance, and
    // Ovis-Image's.
    [[nodiscard]] bool plain_schedule() const {
        return (trunk_.vector_in || config_.yak_mlp) && !trunk_.guidance_in;
    }

    modelfile::FluxConfig config_;
    FluxTrunk trunk_;
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
