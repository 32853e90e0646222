// SPDX-License-Identifier: Apache-2.0
//
// Chroma: Flux's blocks without modulations of their own, without a pooled text. One deep network
// computes every shift, scale and gate, one row each, from timestep, guidance and the row's number.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/flux_blocks.h"
#include "modelfile/networks/chroma_config.h"

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

class ChromaNetwork final : public Denoiser {
  public:
    explicit ChromaNetwork(const modelfile::ChromaConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Modulations;
    [[nodiscard]] Modulations modulate_all(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] std::int64_t modulation_rows() const;
    [[nodiscard]] std::int64_t latent_channels(int patch_channels) const {
        return patch_channels / (std::int64_t{config_.patch_size} * config_.patch_size);
    }

    modelfile::ChromaConfig config_;
    FluxWidths widths_;
    Module root_;
    Module pe_;
    Linear img_in_;
    Linear txt_in_;
    ChromaApproximator approximator_;
    std::vector<FluxDoubleBlock> double_blocks_;
    std::vector<FluxSingleBlock> single_blocks_;
    FluxFinalLayer final_layer_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_chroma(
    const modelfile::ChromaConfig& config);

}  // namespace plimsoll::memory
