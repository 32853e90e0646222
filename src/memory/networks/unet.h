// SPDX-License-Identifier: Apache-2.0
//
// The LDM UNet (Rombach et al. 2022; SDXL: Podell et al. 2023) in all the widths and depths that a
// UnetConfig can say, and what ComfyUI does around it: casts, scaling by sigma, cond and uncond in
// one batch.
#pragma once
#include "memory/networks/blocks.h"
#include "memory/networks/denoiser.h"

namespace plimsoll::memory {

// The encoder half, which a ControlNet repeats.
struct EncoderHalf {
    std::vector<BlockSequence> input_blocks;
    std::vector<std::int64_t> channels;  // after each input block
    std::int64_t width = 0;              // channels at the end
};
[[nodiscard]] Result<void> check_unet_config(const modelfile::UnetConfig& config);
[[nodiscard]] AttentionWidth attention_width(const modelfile::UnetConfig& config,
                                             std::int64_t channels);
[[nodiscard]] EncoderHalf build_encoder_half(Registry& registry,
                                             const modelfile::UnetConfig& config);
// Empty where the configuration has no middle block.
[[nodiscard]] BlockSequence build_middle_block(Registry& registry,
                                               const modelfile::UnetConfig& config,
                                               std::int64_t channels);

// time_embed and label_emb: two Linear layers with SiLU between.
class EmbeddingMlp {
  public:
    EmbeddingMlp(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Linear first_;
    Module act_;
    Linear second_;
};

class UnetNetwork final : public Denoiser {
  public:
    explicit UnetNetwork(const modelfile::UnetConfig& config);

    [[nodiscard]] const modelfile::UnetConfig& config() const { return config_; }

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override;
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    void build_output_blocks(std::vector<std::int64_t> skips);

    modelfile::UnetConfig config_;
    Module root_;
    EmbeddingMlp time_embed_;
    std::optional<EmbeddingMlp> label_emb_;
    EncoderHalf encoder_;
    BlockSequence middle_;
    std::vector<BlockSequence> output_blocks_;
    std::optional<GroupNorm> out_norm_;
    Module out_act_;
    std::optional<Conv2d> out_conv_;
};

}  // namespace plimsoll::memory
