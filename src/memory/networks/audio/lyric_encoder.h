// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step's encoder of lyrics: a Conformer (Gulati et al. 2020) without convolutions, whose
// attention knows relative positions (Dai et al. 2019).
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// Products of matrices by heads, [N, heads, rows, columns]: those whose layout cannot be seen as
// [N x heads, rows, columns] are copied first, which is the case from two items on.
enum class HeadLayout : std::uint8_t { Dense, Interleaved };
struct HeadMatrix {
    Tensor values;
    HeadLayout layout = HeadLayout::Interleaved;
};
[[nodiscard]] Tensor multiply_by_heads(Tape& tape, Module module, const HeadMatrix& a,
                                       const HeadMatrix& b, const Shape& result,
                                       std::int64_t inner);

class LyricAttention {
  public:
    LyricAttention(Registry& registry, std::string_view path);
    struct Attended {
        Tensor tokens;
        Tensor cache;  // keys and values, made for streaming
    };
    // `positions`: [1, 2 x tokens - 1, width].
    [[nodiscard]] Attended forward(Tape& tape, const Tensor& x, const Tensor& positions) const;

  private:
    [[nodiscard]] Tensor shift(Tape& tape, const Tensor& x) const;

    Module path_;
    Linear q_;
    Linear k_;
    Linear v_;
    Linear out_;
    Linear positions_;
};

class LyricLayer {
  public:
    LyricLayer(Registry& registry, std::string_view path);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x, const Tensor& positions) const;

  private:
    Module path_;
    LyricAttention attention_;
    Linear ff_in_;
    Module ff_act_;
    Linear ff_out_;
    LayerNorm norm_ff_;
    LayerNorm norm_mha_;
};

class LyricEncoder {
  public:
    LyricEncoder(Registry& registry, std::string_view path, std::int64_t in);
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& lyrics) const;

  private:
    Module positions_;
    Linear in_;
    LayerNorm in_norm_;
    LayerNorm after_norm_;
    std::vector<LyricLayer> layers_;
};

// Of the encoder's tokens, and how many it can tell apart by their positions.
inline constexpr std::int64_t kLyricWidth = 1024;
inline constexpr std::int64_t kLyricTokensMax = 5000;

}  // namespace plimsoll::memory
