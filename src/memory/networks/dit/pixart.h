// SPDX-License-Identifier: Apache-2.0
//
// PixArt-Sigma (Chen et al. 2024): blocks that attend to themselves and to the text, modulated by
// tables of their own plus one projection of the timestep.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/pixart_config.h"

#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct PixArtWidths {
    std::int64_t hidden = 1152;
    std::int64_t heads = 16;
    std::int64_t mlp = 4608;
};

class PixArtBlock {
  public:
    PixArtBlock(Registry& registry, std::string_view path, const PixArtWidths& widths);
    // `x`: [N, tokens, hidden], channels first in memory. `y`: the texts of all latents in a row,
    // [1, tokens, hidden]. `t`: [N, 6 x hidden].
    void forward(Tape& tape, Tensor& x, const Tensor& y, const Tensor& t) const;

  private:
    [[nodiscard]] Tensor attend_to_itself(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor attend_to_text(Tape& tape, const Tensor& x, const Tensor& y) const;

    Module path_;
    PixArtWidths widths_;
    LayerNorm norm1_;
    Module attn_;
    Linear qkv_;
    Linear proj_;
    Module cross_;
    Linear cross_q_;
    Linear cross_kv_;
    Linear cross_proj_;
    LayerNorm norm2_;
    Linear mlp_in_;
    Module mlp_act_;
    Linear mlp_out_;
};

class PixArtNetwork final : public Denoiser {
  public:
    explicit PixArtNetwork(const modelfile::PixArtConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Eps; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    // Sinusoids of the patches' places, [1, rows x columns, hidden].
    [[nodiscard]] Tensor embed_positions(Tape& tape, std::int64_t rows, std::int64_t columns,
                                         ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& latent,
                                       const Tensor& positions) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& t) const;

    modelfile::PixArtConfig config_;
    PixArtWidths widths_;
    Module root_;
    Module t_silu_;
    Linear t_block_;
    Module x_embedder_;
    Conv2d patch_proj_;
    MlpEmbedder t_embedder_;
    Module y_embedder_;
    Linear y_in_;
    Module y_act_;
    Linear y_out_;
    std::vector<PixArtBlock> blocks_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const PixArtNetwork>> build_pixart(
    const modelfile::PixArtConfig& config);

}  // namespace plimsoll::memory
