// SPDX-License-Identifier: Apache-2.0
//
// MiniMax Music 3: a transformer over latents along the time, joined with hidden states of the
// language model that wrote the song. It runs over windows of eight seconds that overlap by half,
// one after the other.
#pragma once
#include "memory/networks/audio/conv1d.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/minimax_music3_config.h"

#include <cstdint>
#include <memory>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A layer norm whose scale and shift are called gamma and beta.
class GammaBetaNorm {
  public:
    GammaBetaNorm(Registry& registry, Module path, std::int64_t width);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    LayerNorm norm_;
};

class MiniMaxMusic3Block {
  public:
    MiniMaxMusic3Block(Registry& registry, std::string_view path,
                       const modelfile::MiniMaxMusic3Config& config);
    // `angles`: [tokens, rotated channels], in fp32.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& angles) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x, const Tensor& angles) const;
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;

    Module path_;
    Module self_;
    Module glu_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    std::int64_t ff_dim_;
    GammaBetaNorm pre_norm_;
    Linear to_qkv_;
    Linear to_out_;
    GammaBetaNorm ff_norm_;
    Linear ff_in_;
    Linear ff_out_;
};

// A step's latent_width counts latents along the time; its tokens are the language model's frames,
// 25 of which are a second.
class MiniMaxMusic3Network final : public Denoiser {
  public:
    explicit MiniMaxMusic3Network(const modelfile::MiniMaxMusic3Config& config);

    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::Flow; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor mix_context(Tape& tape, const Tensor& context) const;
    [[nodiscard]] Tensor embed_time(Tape& tape, const StepInputs& in) const;
    [[nodiscard]] Tensor run_window(Tape& tape, const Tensor& latents, const Tensor& condition,
                                    const Tensor& time) const;
    [[nodiscard]] std::int64_t joined_channels() const;

    modelfile::MiniMaxMusic3Config config_;
    Module root_;
    Module inner_;
    Conv1d conditioner_;
    Module transformer_;
    Linear project_in_;
    Linear project_out_;
    Module rotary_;
    std::vector<MiniMaxMusic3Block> blocks_;
    Module time_features_;
    MlpEmbedder time_in_;
    Conv1d preprocess_;
    Conv1d postprocess_;
};

// Fails with InvalidInput when the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_minimax_music3(
    const modelfile::MiniMaxMusic3Config& config);

}  // namespace plimsoll::memory
