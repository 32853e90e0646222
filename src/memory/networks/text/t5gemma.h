// SPDX-License-Identifier: Apache-2.0
//
// The encoder of T5Gemma: Gemma's layers, every token attending to all, with attention step by step
// because its scores go through a tanh.
#pragma once
#include "memory/networks/text/decoder.h"
#include "modelfile/networks/t5gemma_config.h"

#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

class T5GemmaLayer {
  public:
    T5GemmaLayer(Registry& registry, std::string_view path, const modelfile::T5GemmaConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& mask,
                                 const DecoderRope& rope) const;

  private:
    [[nodiscard]] Tensor attend(Tape& tape, const Tensor& x, const Tensor& mask,
                                const DecoderRope& rope) const;
    [[nodiscard]] Tensor scores(Tape& tape, const Tensor& q, const Tensor& k,
                                const Tensor& mask) const;

    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    DecoderMlp mlp_;
    std::vector<DecoderNorm> norms_;  // before and after attention, before and after the rest
};

class T5GemmaNetwork final : public TextNetwork {
  public:
    explicit T5GemmaNetwork(const modelfile::T5GemmaConfig& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;

  private:
    modelfile::T5GemmaConfig config_;
    Module encoder_;
    std::optional<Embedding> embed_tokens_;
    std::vector<T5GemmaLayer> layers_;
    std::optional<DecoderNorm> norm_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const T5GemmaNetwork>> build_t5gemma(
    const modelfile::T5GemmaConfig& config);

}  // namespace plimsoll::memory
