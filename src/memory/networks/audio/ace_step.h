// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step (Gong et al. 2025): Sana's blocks (Xie et al. 2024) over the columns of a spectrogram's
// latent: linear attention, cross-attention to text and lyrics, gated convolutions.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/audio/lyric_encoder.h"
#include "memory/networks/conv3d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/text/text_encoder.h"
#include "modelfile/networks/ace_step_config.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct AceStepWidths {
    std::int64_t hidden = 2560;
    std::int64_t heads = 20;
    std::int64_t head_dim = 128;
    std::int64_t mlp = 6400;
};

enum class AceStepLayout : std::uint8_t { Contiguous, Transposed };  // of the tokens handed in

class AceStepAttention {
  public:
    enum class Source : std::uint8_t { Itself, Text };
    AceStepAttention(Registry& registry, std::string_view path, const AceStepWidths& widths,
                     Source source);
    // Linear attention (Katharopoulos et al. 2020) of the tokens to themselves, in fp32.
    [[nodiscard]] Tensor forward_linear(Tape& tape, const Tensor& x, AceStepLayout layout) const;
    [[nodiscard]] Tensor forward_cross(Tape& tape, const Tensor& x, const Tensor& text) const;

  private:
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x) const;

    Module path_;
    AceStepWidths widths_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
};

class AceStepBlock {
  public:
    AceStepBlock(Registry& registry, std::string_view path, const AceStepWidths& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& time,
                                 const Tensor& text, AceStepLayout layout) const;

  private:
    [[nodiscard]] Tensor modulated(Tape& tape, const Tensor& normal, const Tensor& part) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    AceStepWidths widths_;
    Module norm1_;
    AceStepAttention attn_;
    AceStepAttention cross_;
    Module norm2_;
    Module ff_;
    Module ff_act_;
    Conv1d inverted_;
    Module inverted_act_;
    Conv1d depth_;
    Conv1d point_;
};

// A step's latent_width counts latents along the time.
class AceStepNetwork final : public Denoiser {
  public:
    explicit AceStepNetwork(const modelfile::AceStepConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor encode(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor embed_patches(Tape& tape, const Tensor& latent) const;
    [[nodiscard]] Tensor forward_final(Tape& tape, const Tensor& x, const Tensor& time) const;

    modelfile::AceStepConfig config_;
    AceStepWidths widths_;
    Module root_;
    Module rotary_;
    std::vector<AceStepBlock> blocks_;
    Module time_proj_;
    MlpEmbedder time_in_;
    Module time_act_;
    Linear time_block_;
    Linear speaker_;
    Linear genre_;
    Embedding lyrics_;
    LyricEncoder lyric_encoder_;
    Linear lyric_proj_;
    std::optional<Conv3d> patch_in_;
    std::optional<GroupNorm> patch_norm_;
    std::optional<Conv2d> patch_out_;
    Module final_;
    Module final_norm_;
    std::optional<Linear> final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_ace_step(
    const modelfile::AceStepConfig& config);

}  // namespace plimsoll::memory
