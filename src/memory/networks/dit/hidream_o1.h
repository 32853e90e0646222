// SPDX-License-Identifier: Apache-2.0
//
// HiDream-O1-Image (2026): no VAE. A language model runs over the prompt's tokens and patches of
// the image; the prompt's keys and values are kept for the steps that follow.
#pragma once
#include "memory/networks/denoiser.h"
#include "memory/networks/text/decoder.h"
#include "modelfile/networks/hidream_o1_config.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class HiDreamO1Layer {
  public:
    HiDreamO1Layer(Registry& registry, std::string_view path,
                   const modelfile::DecoderConfig& config);
    // Keys and values of all tokens, which the caller holds.
    struct Present {
        Tensor k;
        Tensor v;
    };
    // Writes its output over `x`. The first `causal` tokens attend to those before them only.
    [[nodiscard]] Present forward(Tape& tape, const Tensor& x, const DecoderRope& rope,
                                  std::int64_t causal) const;

  private:
    [[nodiscard]] Tensor rotate(Tape& tape, const Tensor& x, const DecoderRope& rope) const;
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const DecoderRope& rope,
                                std::int64_t causal, Present& present) const;

    Module path_;
    Module attention_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    DecoderNorm q_norm_;
    DecoderNorm k_norm_;
    DecoderMlp mlp_;
    DecoderNorm input_norm_;
    DecoderNorm post_attention_norm_;
};

class HiDreamO1Network final : public Denoiser {
  public:
    explicit HiDreamO1Network(const modelfile::HiDreamO1Config& config);

    // `more`: the prompt's token ids, positions of all tokens, and which of them are the image's.
    // `references`: one tensor, the patches of all. What the eye makes of them is part of the
    // prompt; it looks once, before the first step, and takes less than the step: 576 patches of an
    // image.
    [[nodiscard]] StepInputs make_inputs(Tape& tape, const InputWish& wish) const override;
    // A sampler's first step, which fills the cache.
    [[nodiscard]] Tensor forward(Tape& tape, const StepInputs& inputs) const override;
    [[nodiscard]] Prediction prediction() const override { return Prediction::FlowScaled; }
    [[nodiscard]] std::vector<ModuleEntry> model_buffers() const override;

  private:
    [[nodiscard]] Tensor embed_time(Tape& tape, const Tensor& timesteps,
                                    ghost::ElementType type) const;
    [[nodiscard]] DecoderRope make_rope(Tape& tape, std::int64_t tokens,
                                        ghost::ElementType type) const;
    [[nodiscard]] Tensor denoised_from(Tape& tape, const Tensor& x, const Tensor& image,
                                       const Tensor& sigma) const;

    modelfile::HiDreamO1Config config_;
    modelfile::DecoderConfig decoder_;
    Module root_;
    Module language_model_;
    Module embed_tokens_;
    std::vector<HiDreamO1Layer> layers_;
    DecoderNorm norm_;
    Module time_;
    Linear time_in_;
    Module time_act_;
    Linear time_out_;
    Linear patch_in_;
    Linear patch_proj_;
    Linear final_linear_;
};

[[nodiscard]] Result<std::shared_ptr<const Denoiser>> build_hidream_o1(
    const modelfile::HiDreamO1Config& config);

}  // namespace plimsoll::memory
