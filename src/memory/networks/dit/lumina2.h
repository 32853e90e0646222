// SPDX-License-Identifier: Apache-2.0
//
// Lumina Image 2.0 (Qin et al. 2025) and Z-Image: text and image tokens are refined apart, then run
// through layers over both in one stream.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/lumina2_block.h"
#include "modelfile/networks/lumina2_config.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class PatchRun;

// Tokens and the rotary table of their positions.
struct LuminaTokens {
    Tensor tokens;  // [N, tokens, dim]
    Tensor table;
};

class Lumina2Network final : public Denoiser {
  public:
    explicit Lumina2Network(const modelfile::Lumina2Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    struct Padded {
        Tensor tokens;
        std::int64_t added = 0;
    };
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] Tensor embed_text(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Padded pad_tokens(Tape& tape, const Tensor& tokens) const;
    [[nodiscard]] LuminaTokens embed_caption(Tape& tape, const Tensor& context) const;
    [[nodiscard]] LuminaTokens embed_image(Tape& tape, const Tensor& x) const;
    // Text and image tokens refined and joined. `x` is padded to whole patches.
    [[nodiscard]] LuminaTokens refine_3064(Tape& tape, const Tensor& x, const Tensor& text,
                                           const Tensor& time) const;
    [[nodiscard]] LuminaTokens refine_33000(Tape& tape, const Tensor& x, const Tensor& context,
                                            const Tensor& time, PatchRun* patch) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& time) const;
    [[nodiscard]] Tensor unpatchify(Tape& tape, const Tensor& tokens, const Tensor& like) const;

    modelfile::Lumina2Config config_;
    Module root_;
    Module rope_;
    Linear x_embedder_;
    std::vector<LuminaBlock> noise_refiner_;
    std::vector<LuminaBlock> context_refiner_;
    Module time_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    RmsNorm text_norm_;
    Linear text_in_;
    std::vector<LuminaBlock> layers_;
    Module final_;
    LayerNorm final_norm_;
    Linear final_linear_;
    Module final_act_;
    Linear final_modulation_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_lumina2(
    const modelfile::Lumina2Config& config);

}  // namespace plimsoll::memory
