// SPDX-License-Identifier: Apache-2.0
//
// Stable Audio Open (Evans et al. 2024): a transformer over latents along the time. The timestep
// and the global condition are one token in front of them.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/stable_audio_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

struct StableAudioWidths {
    std::int64_t hidden = 1536;
    std::int64_t heads = 24;
    std::int64_t context = 768;

    [[nodiscard]] std::int64_t head_dim() const { return hidden / heads; }
    [[nodiscard]] std::int64_t rotated() const;  // channels of a head
};

// A layer norm that scales but does not shift.
class GammaNorm {
  public:
    GammaNorm(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    LayerNorm norm_;
};

class StableAudioBlock {
  public:
    StableAudioBlock(Registry& registry, std::string_view path, const StableAudioWidths& widths);
    // `angles`: [tokens, rotated channels], in fp32.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& context,
                                 const Tensor& angles) const;

  private:
    [[nodiscard]] Tensor attend_to_itself(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor attend_to_text(Tape& tape, const Tensor& x, const Tensor& context) const;
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    StableAudioWidths widths_;
    GammaNorm pre_norm_;
    Module self_;
    Linear to_qkv_;
    Linear self_out_;
    GammaNorm cross_norm_;
    Module cross_;
    Linear to_q_;
    Linear to_kv_;
    Linear cross_out_;
    GammaNorm ff_norm_;
    Module glu_;
    Module glu_act_;
    Linear ff_in_;
    Linear ff_out_;
};

// A step's latent_width counts latents along the time.
class StableAudioNetwork final : public Denoiser {
  public:
    explicit StableAudioNetwork(const modelfile::StableAudioConfig& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::V; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_time(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor make_angles(Tape& tape, std::int64_t tokens) const;
    [[nodiscard]] Tensor transform(Tape& tape, const Tensor& tokens, const Tensor& prepended,
                                   const Tensor& mask, const Tensor& context) const;

    modelfile::StableAudioConfig config_;
    StableAudioWidths widths_;
    Module root_;
    Module time_features_;
    MlpEmbedder time_in_;
    MlpEmbedder text_in_;
    MlpEmbedder global_in_;
    Module transformer_;
    Linear project_in_;
    Linear project_out_;
    Module rotary_;
    std::vector<StableAudioBlock> blocks_;
    Conv1d preprocess_;
    Conv1d postprocess_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_stable_audio(
    const modelfile::StableAudioConfig& config);

}  // namespace plimsoll::memory
