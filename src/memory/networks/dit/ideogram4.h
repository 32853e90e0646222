// SPDX-License-Identifier: Apache-2.0
//
// Ideogram 4 (2026): one stream of text and image tokens in blocks like Lumina 2's. Text comes as
// hidden states of many layers of its encoder, side by side.
#pragma once
#include "memory/networks/denoiser.h"
#include "modelfile/networks/ideogram4_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class Ideogram4Block {
  public:
    Ideogram4Block(Registry& registry, std::string_view path,
                   const modelfile::Ideogram4Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table,
                                 const Tensor& time) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& table) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    Module attention_;
    Linear qkv_;
    RmsNorm norm_q_;
    RmsNorm norm_k_;
    Linear out_;
    Module feed_forward_;
    Linear w1_;
    Linear w2_;
    Linear w3_;
    RmsNorm attention_norm1_;
    RmsNorm ffn_norm1_;
    RmsNorm attention_norm2_;
    RmsNorm ffn_norm2_;
    Linear modulation_;
};

class Ideogram4Network final : public Denoiser {
  public:
    explicit Ideogram4Network(const modelfile::Ideogram4Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Sequence {
        Tensor image;      // [N, cells, channels]
        Tensor tokens;     // [N, text and image tokens, channels], nothing where text will be
        Tensor text_ids;   // positions, in whole numbers
        Tensor image_ids;  //
        Tensor ids;
        Tensor roles;  // [N, tokens]: text or image
    };
    [[nodiscard]] Sequence pack(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] Tensor position_table(Tape& tape, std::int64_t tokens) const;
    [[nodiscard]] Tensor role_mask(Tape& tape, const Tensor& roles, std::int64_t tokens,
                                   ghost::ElementType type) const;
    [[nodiscard]] Tensor run(Tape& tape, const Sequence& sequence, const Tensor& context,
                             const Tensor& timesteps) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& time) const;

    modelfile::Ideogram4Config config_;
    std::int64_t width_;
    Module root_;
    Linear input_proj_;
    RmsNorm llm_norm_;
    Linear llm_proj_;
    Module time_;
    Linear time_in_;
    Linear time_out_;
    Linear adaln_proj_;
    Module image_indicator_;
    std::vector<Ideogram4Block> layers_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
    Linear final_modulation_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_ideogram4(
    const modelfile::Ideogram4Config& config);

}  // namespace plimsoll::memory
