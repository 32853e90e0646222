// SPDX-License-Identifier: Apache-2.0
//
// Mage-Flow (Microsoft 2026): Qwen-Image's blocks on tokens of one latent cell each.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/qwen_image.h"
#include "modelfile/networks/mage_flow_config.h"

#include <cstdint>
#include <vector>

namespace plimsoll::memory {

class MageFlowNetwork final : public Denoiser {
  public:
    explicit MageFlowNetwork(const modelfile::MageFlowConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor image_positions(Tape& tape, std::int64_t batch, std::int64_t rows,
                                         std::int64_t columns) const;

    modelfile::MageFlowConfig config_;
    QwenWidths widths_;
    QwenTrunk trunk_;
    QwenHead head_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_mage_flow(
    const modelfile::MageFlowConfig& config);

}  // namespace plimsoll::memory
