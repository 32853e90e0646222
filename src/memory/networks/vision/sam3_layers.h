// SPDX-License-Identifier: Apache-2.0
//
// Layers that SAM 3's detector and tracker share.
#pragma once
#include "memory/networks/layers.h"

#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Linear layers with ReLU between them.
class Sam3Mlp {
  public:
    Sam3Mlp(Registry& registry, std::string_view path, const std::vector<std::int64_t>& widths);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    std::vector<Linear> layers_;
};

// Attention whose three inputs may be different tokens.
class Sam3Attention {
  public:
    struct Widths {
        std::int64_t tokens = 256;
        std::int64_t inner = 256;
        std::int64_t keys = 256;  // of what the keys and values are made of
    };
    Sam3Attention(Registry& registry, std::string_view path, const Widths& widths,
                  std::int64_t heads);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& queries, const Tensor& keys,
                                 const Tensor& values, const Tensor& mask = {}) const;

  private:
    Module path_;
    std::int64_t inner_;
    std::int64_t heads_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
};

// Attention to themselves, to others and a feed-forward, each behind its norm.
class Sam3EncoderLayer {
  public:
    Sam3EncoderLayer(Registry& registry, std::string_view path, std::int64_t width,
                     std::int64_t feed_forward);
    // Image tokens, whose positions are added to what is compared; the others are texts.
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& positions,
                                 const Tensor& text, const Tensor& mask) const;
    // A prompt's tokens; the others are the image's.
    [[nodiscard]] Tensor forward_prompt(Tape& tape, const Tensor& x, const Tensor& image,
                                        const Tensor& positions) const;

  private:
    [[nodiscard]] Tensor feed(Tape& tape, const Tensor& x) const;

    Module path_;
    Sam3Attention self_;
    Sam3Attention cross_;
    Linear linear1_;
    Linear linear2_;
    LayerNorm norm1_;
    LayerNorm norm2_;
    LayerNorm norm3_;
};

// Rows of learned tokens.
Module add_embedding(Registry& registry, std::string_view path, std::int64_t elements);

}  // namespace plimsoll::memory
