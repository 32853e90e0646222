// SPDX-License-Identifier: Apache-2.0
//
// HiDream-I1 (Cai et al. 2025): every block reads another layer of Llama beside T5's tokens.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/flux_blocks.h"
#include "memory/networks/dit/hidream_blocks.h"
#include "modelfile/networks/hidream_config.h"

#include <memory>
#include <vector>

namespace plimsoll::memory {

class HiDreamNetwork final : public Denoiser {
  public:
    HiDreamNetwork(const modelfile::HiDreamConfig& config, ExpertLoad load);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Texts {
        std::vector<Tensor> llama;  // one for each block
        Tensor t5;
    };
    struct Condition {
        Tensor time;
        Tensor pooled;
        Tensor sum;
    };
    [[nodiscard]] Condition embed_condition(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Texts project_texts(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor run_blocks(Tape& tape, Tensor img, const Texts& texts,
                                    const Tensor& condition, const Tensor& table) const;
    [[nodiscard]] Tensor unpatchify(Tape& tape, const Tensor& tokens, std::int64_t rows,
                                    std::int64_t columns) const;

    modelfile::HiDreamConfig config_;
    HiDreamWidths widths_;
    Module root_;
    Module time_proj_;
    MlpEmbedder time_in_;
    MlpEmbedder pooled_in_;
    Linear img_in_;
    Module pe_;
    std::vector<HiDreamBlock> double_blocks_;
    std::vector<HiDreamBlock> single_blocks_;
    FluxFinalLayer final_layer_;
    std::vector<Linear> llama_in_;
    std::vector<Linear> t5_in_;  // one
};

// `load`: what the gates are taken to decide.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_hidream(
    const modelfile::HiDreamConfig& config, ExpertLoad load);

}  // namespace plimsoll::memory
