// SPDX-License-Identifier: Apache-2.0
//
// Ming-Image's text encoder: Ling-mini 2.0, whose layers send each token through some of many
// experts, and behind it a smaller language model over what it made of 256 learned tokens.
#pragma once
#include "memory/networks/text/decoder.h"
#include "modelfile/networks/ming_text_config.h"

#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class MingAttention {
  public:
    MingAttention(Registry& registry, std::string_view path,
                  const modelfile::MingTextConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask) const;

  private:
    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear qkv_;
    DecoderNorm q_norm_;
    DecoderNorm k_norm_;
    Linear out_;
};

// Which experts a token gets depends on the prompt; that each gets so many does not.
class MingExperts {
  public:
    MingExperts(Registry& registry, std::string_view path, const modelfile::MingTextConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    void choose(Tape& tape, const Linear& gate, const Tensor& flat) const;

    Module path_;
    modelfile::MingTextConfig config_;
    Linear gate_;
    Linear image_gate_;
    Module gate_up_;
    Module down_;
    DecoderMlp shared_;
};

class MingLayer {
  public:
    MingLayer(Registry& registry, std::string_view path, const modelfile::MingTextConfig& config,
              int index);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& input, const Tensor& mask) const;

  private:
    Module path_;
    MingAttention attention_;
    DecoderNorm input_norm_;
    DecoderNorm post_norm_;
    std::optional<DecoderMlp> mlp_;
    std::optional<MingExperts> experts_;
};

class MingTextNetwork final : public TextNetwork {
  public:
    explicit MingTextNetwork(const modelfile::MingTextConfig& config);
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const TextCall& call) const override;

  private:
    void register_eye();

    modelfile::MingTextConfig config_;
    Module model_;
    std::optional<Embedding> embed_tokens_;
    std::vector<MingLayer> layers_;
    std::optional<DecoderNorm> norm_;
    std::vector<DecoderLayer> connector_;
    std::optional<DecoderNorm> connector_norm_;
    std::optional<Linear> proj_in_;
    std::optional<Linear> proj_out_;
    std::optional<RmsNorm> direct_norm_;
    std::optional<Linear> direct_;
};

// Fails with InvalidInput where the numbers contradict each other.
[[nodiscard]] Result<std::shared_ptr<const MingTextNetwork>> build_ming_text(
    const modelfile::MingTextConfig& config);

}  // namespace plimsoll::memory
