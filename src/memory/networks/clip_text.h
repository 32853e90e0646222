// SPDX-License-Identifier: Apache-2.0
//
// CLIP's text transformer (Radford et al. 2021) as ComfyUI runs it: token lists in, hidden states
// and pooled output out.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

class ClipAttention {
  public:
    ClipAttention(Registry& registry, std::string_view path, std::int64_t width,
                  std::int64_t heads);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& mask) const;

  private:
    Module path_;
    std::int64_t heads_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
};

class ClipMlp {
  public:
    ClipMlp(Registry& registry, std::string_view path, const modelfile::ClipTextConfig& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    modelfile::ClipActivation activation_;
    Linear fc1_;
    Linear fc2_;
};

enum class TokenLayout : std::uint8_t { Contiguous, Strided };

class ClipLayer {
  public:
    ClipLayer(Registry& registry, std::string_view path, const modelfile::ClipTextConfig& config);
    // Adds to `x` in place. Strided: laid out channel by channel; norms read a copy.
    void forward(Tape& tape, const Tensor& x, const Tensor& mask,
                 TokenLayout layout = TokenLayout::Contiguous) const;

  private:
    Module path_;
    LayerNorm norm1_;
    ClipAttention attention_;
    LayerNorm norm2_;
    ClipMlp mlp_;
};

class ClipNetwork final : public RegisteredNetwork {
  public:
    explicit ClipNetwork(const modelfile::ClipTextConfig& config);

    [[nodiscard]] const modelfile::ClipTextConfig& config() const { return config_; }

    // Everything that is alive when the call returns.
    [[nodiscard]] std::vector<Tensor> encode(Tape& tape, const ClipCall& call) const;

  private:
    [[nodiscard]] Tensor embed_tokens(Tape& tape, std::int64_t tokens) const;

    modelfile::ClipTextConfig config_;
    Module root_;
    Module text_model_;
    Module encoder_;
    Module token_embedding_;
    Module position_embedding_;
    std::vector<ClipLayer> layers_;
    std::optional<LayerNorm> final_norm_;
    std::optional<Linear> projection_;
};

}  // namespace plimsoll::memory
