// SPDX-License-Identifier: Apache-2.0
//
// Chroma: Flux's blocks without modulations of their own, without a pooled text. One deep network
// computes every shift, scale and gate, one row each, from timestep, guidance and the row's number.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/flux_blocks.h"
#include "modelfile/networks/chroma_config.h"

#include <functional>
#include <vector>

namespace plimsoll::memory {

// A stack of residual SiLU layers, each behind a norm.
class ChromaApproximator {
  public:
    ChromaApproximator(Registry& registry, std::string_view path,
                       const modelfile::ChromaConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear in_;
    std::vector<MlpEmbedder> layers_;
    std::vector<RmsNorm> norms_;
    Linear out_;
};

// What Chroma has in common with Chroma Radiance: all between image tokens in and out.
class ChromaTrunk {
  public:
    ChromaTrunk(Registry& registry, const modelfile::ChromaConfig& config);
    struct Positions {
        Tensor txt;
        Tensor img;
    };
    // `img`: tokens. `finish` makes the result of [N, image tokens, width] and the modulations
    // while the forward's variables live.
    [[nodiscard]] Tensor forward(
        Tape& tape, const StepInputs& in, Tensor img, const Positions& positions,
        const std::function<Tensor(const Tensor& own, const Tensor& modulation)>& finish) const;
    [[nodiscard]] const FluxWidths& widths() const { return widths_; }

  private:
    struct Modulations;
    [[nodiscard]] Modulations modulate_all(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] std::int64_t modulation_rows() const;

    modelfile::ChromaConfig config_;
    FluxWidths widths_;
    Module root_;
    Module pe_;
    Linear txt_in_;
    ChromaApproximator approximator_;
    std::vector<FluxDoubleBlock> double_blocks_;
    std::vector<FluxSingleBlock> single_blocks_;
};

class ChromaNetwork final : public Denoiser {
  public:
    explicit ChromaNetwork(const modelfile::ChromaConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] std::int64_t latent_channels(int patch_channels) const {
        return patch_channels / (std::int64_t{config_.patch_size} * config_.patch_size);
    }

    modelfile::ChromaConfig config_;
    Module root_;
    Linear img_in_;
    ChromaTrunk trunk_;
    FluxFinalLayer final_layer_;
};

// Whether the numbers of the trunk fit each other.
[[nodiscard]] bool sound_chroma_trunk(const modelfile::ChromaConfig& config);
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_chroma(
    const modelfile::ChromaConfig& config);

}  // namespace plimsoll::memory
