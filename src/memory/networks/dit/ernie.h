// SPDX-License-Identifier: Apache-2.0
//
// ERNIE-Image (Baidu 2026): one stream of image and text tokens; one modulation for all blocks.
#pragma once
#include "memory/networks/denoiser.h"
#include "modelfile/networks/ernie_config.h"

#include <array>
#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class ErnieBlock {
  public:
    ErnieBlock(Registry& registry, std::string_view path, const modelfile::ErnieConfig& config);
    // `part`: [N, 1, width], a shift, scale or gate.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table,
                                 const Tensor& part) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t heads_;
    RmsNorm attention_norm_;
    Module attention_;
    Linear to_q_;
    Linear to_k_;
    Linear to_v_;
    RmsNorm norm_q_;
    RmsNorm norm_k_;
    Linear to_out_;
    RmsNorm mlp_norm_;
    Module mlp_;
    Linear gate_proj_;
    Linear up_proj_;
    Linear fc2_;
};

class ErnieNetwork final : public Denoiser {
  public:
    explicit ErnieNetwork(const modelfile::ErnieConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor position_table(Tape& tape, std::int64_t batch, std::int64_t text_tokens,
                                        std::int64_t rows, std::int64_t columns) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& time) const;

    modelfile::ErnieConfig config_;
    Module root_;
    Conv2d x_embedder_;
    Module x_embedder_path_;
    std::optional<Linear> text_proj_;
    Module time_proj_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Module pe_;
    Module modulation_act_;
    Linear modulation_;
    std::vector<ErnieBlock> layers_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_modulation_;
    Linear final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_ernie(
    const modelfile::ErnieConfig& config);

}  // namespace plimsoll::memory
