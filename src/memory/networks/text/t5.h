// SPDX-License-Identifier: Apache-2.0
//
// T5's encoder as ComfyUI runs it: relative positions as a bias of the attention scores, gated
// feed-forward, no biases, residuals added in place.
#pragma once
#include "memory/networks/text/text_encoder.h"
#include "modelfile/networks/t5_config.h"

#include <memory>
#include <optional>

namespace plimsoll::memory {

// Root mean square norm, written out step by step in the activations' own type.
class T5Norm {
  public:
    T5Norm(Registry& registry, Module path, const modelfile::T5Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::int64_t width_;
    ModuleStorage storage_;
};

class T5Attention {
  public:
    T5Attention(Registry& registry, std::string_view path, const modelfile::T5Config& config,
                bool has_bias);
    // `bias`: that of the layers before; this layer's own takes its place.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 Tensor& bias) const;

  private:
    [[nodiscard]] Tensor position_bias(Tape& tape, std::int64_t tokens) const;
    [[nodiscard]] Tensor buckets_of(Tape& tape, const Tensor& distance) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    std::optional<Embedding> relative_bias_;
};

class T5FeedForward {
  public:
    T5FeedForward(Registry& registry, std::string_view path, const modelfile::T5Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Linear wi_;
    std::optional<Linear> linear_;  // beside the gate
    Linear wo_;
};

class T5Block {
  public:
    T5Block(Registry& registry, std::string_view path, const modelfile::T5Config& config,
            bool has_bias);
    // Adds to `x` in place. Gives the bias that the next layer takes over.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask,
                                 const Tensor& bias) const;

  private:
    Module attention_layer_;
    Module feed_forward_layer_;
    T5Attention attention_;
    T5Norm norm1_;
    T5FeedForward feed_forward_;
    T5Norm norm2_;
};

class T5Network final : public TextNetwork {
  public:
    T5Network(const modelfile::T5Config& config, std::string_view class_name);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;

  private:
    [[nodiscard]] Tensor run_blocks(Tape& tape, const EmbeddedPrompts& prompts) const;

    modelfile::T5Config config_;
    Module transformer_;
    Module encoder_;
    std::vector<T5Block> blocks_;
    std::optional<T5Norm> final_norm_;
    std::optional<Embedding> shared_;
};

// Fails with InvalidInput where the numbers contradict each other. `class_name`: of the wrapper,
// with static lifetime.
[[nodiscard]] Result<std::shared_ptr<const T5Network>> build_t5(const modelfile::T5Config& config,
                                                                std::string_view class_name);

}  // namespace plimsoll::memory
