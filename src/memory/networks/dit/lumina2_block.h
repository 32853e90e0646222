// SPDX-License-Identifier: Apache-2.0
//
// The blocks of Lumina Image 2.0 and Z-Image: attention with grouped keys and a gated feed-forward,
// each normalised before and after.
#pragma once
#include "memory/networks/dit/dit_layers.h"
#include "modelfile/networks/lumina2_config.h"

#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::memory {

// Width of the timestep's vector that modulates the blocks.
[[nodiscard]] std::int64_t lumina_time_width(const modelfile::Lumina2Config& config);
// And of the layer it is made in.
[[nodiscard]] std::int64_t lumina_time_hidden(const modelfile::Lumina2Config& config);

class LuminaAttention {
  public:
    LuminaAttention(Registry& registry, std::string_view path,
                    const modelfile::Lumina2Config& config);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table,
                                 const Tensor& mask) const;

  private:
    Module path_;
    std::int64_t heads_;
    std::int64_t kv_heads_;
    std::int64_t head_dim_;
    Linear qkv_;
    Linear out_;
    std::optional<RmsNorm> q_norm_;
    std::optional<RmsNorm> k_norm_;
};

class LuminaBlock {
  public:
    enum class Modulated : std::uint8_t { No, Yes };

    LuminaBlock(Registry& registry, std::string_view path, const modelfile::Lumina2Config& config,
                Modulated modulated);
    // `mask` may be undefined; `time` is for modulated blocks alone.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& table,
                                 const Tensor& mask, const Tensor& time) const;

  private:
    [[nodiscard]] Tensor feed_forward(Tape& tape, const Tensor& x) const;
    [[nodiscard]] Tensor forward_modulated(Tape& tape, const Tensor& x, const Tensor& table,
                                           const Tensor& mask, const Tensor& time) const;

    Module path_;
    std::int64_t dim_;
    LuminaAttention attention_;
    Module feed_forward_;
    Linear w1_;
    Linear w2_;
    Linear w3_;
    RmsNorm attention_norm1_;
    RmsNorm ffn_norm1_;
    RmsNorm attention_norm2_;
    RmsNorm ffn_norm2_;
    Module modulation_act_;  // nullptr: Z-Image's has none
    std::optional<Linear> modulation_;
};

}  // namespace plimsoll::memory
