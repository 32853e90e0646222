// SPDX-License-Identifier: Apache-2.0
//
// Hunyuan-DiT (Li et al. 2024): self-attention, cross-attention to CLIP's and mT5's tokens, and
// long skip connections between the blocks of both halves.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/hunyuandit_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct HunyuanDitWidths {
    std::int64_t hidden = 1408;
    std::int64_t heads = 16;
    std::int64_t mlp = 6144;
    std::int64_t text = 1024;

    [[nodiscard]] std::int64_t head_dim() const { return hidden / heads; }
};

class HunyuanDitAttention {
  public:
    enum class Source : std::uint8_t { Itself, Text };
    HunyuanDitAttention(Registry& registry, std::string_view path, const HunyuanDitWidths& widths,
                        Source source);
    // `text` is undefined where the attention is to the tokens themselves.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& text) const;

  private:
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& q, const Tensor& k,
                                const Tensor& v) const;

    Module path_;
    HunyuanDitWidths widths_;
    Linear q_;  // queries, keys and values together, or queries alone
    std::optional<Linear> kv_;
    LayerNorm q_norm_;
    LayerNorm k_norm_;
    Linear out_;
};

class HunyuanDitBlock {
  public:
    enum class Half : std::uint8_t { First, Second };  // Second: takes a skip connection
    HunyuanDitBlock(Registry& registry, std::string_view path, const HunyuanDitWidths& widths,
                    Half half);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& condition,
                                 const Tensor& text, const Tensor& skip) const;

  private:
    [[nodiscard]] Tensor normal(Tape& tape, const LayerNorm& norm, const Tensor& x) const;

    Module path_;
    LayerNorm norm1_;
    HunyuanDitAttention attn1_;
    LayerNorm norm2_;
    Linear mlp_in_;
    Module mlp_act_;
    Linear mlp_out_;
    Module modulation_act_;
    Linear modulation_;
    HunyuanDitAttention attn2_;
    LayerNorm norm3_;
    std::optional<LayerNorm> skip_norm_;
    std::optional<Linear> skip_linear_;
};

// The pooled mT5 tokens.
class HunyuanDitPooler {
  public:
    HunyuanDitPooler(Registry& registry, std::string_view path, std::int64_t tokens,
                     std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& tokens) const;

  private:
    Module path_;
    std::int64_t tokens_;
    std::int64_t width_;
    Linear k_;
    Linear q_;
    Linear v_;
    Linear out_;
};

class HunyuanDitNetwork final : public Denoiser {
  public:
    explicit HunyuanDitNetwork(const modelfile::HunyuanDitConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::V; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Texts {
        Tensor t5;   // in CLIP's width
        Tensor all;  // [N, tokens, width]
        Tensor mask;
        Tensor mask_t5;
    };
    [[nodiscard]] Texts embed_texts(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor run_blocks(Tape& tape, Tensor x, const Tensor& condition,
                                    const Tensor& text) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& condition) const;

    modelfile::HunyuanDitConfig config_;
    HunyuanDitWidths widths_;
    Module root_;
    Linear t5_in_;
    Module t5_act_;
    Linear t5_out_;
    HunyuanDitPooler pooler_;
    Module x_embedder_;
    Conv2d patch_proj_;
    MlpEmbedder t_embedder_;
    Linear extra_in_;
    Module extra_act_;
    Linear extra_out_;
    std::vector<HunyuanDitBlock> blocks_;
    Module final_;
    Linear final_linear_;
    Module final_act_;
    Linear final_modulation_;
    LayerNorm final_norm_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_hunyuandit(
    const modelfile::HunyuanDitConfig& config);

}  // namespace plimsoll::memory
