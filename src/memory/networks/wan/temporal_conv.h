// SPDX-License-Identifier: Apache-2.0
//
// Convolutions over time alone, as the audio and face encoders of Wan's relatives have them.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

// Looks back only: the first moment is repeated before the start. Kernel of three.
class CausalConv1d {
  public:
    CausalConv1d(Registry& registry, std::string_view path, std::int64_t in, std::int64_t out,
                 std::int64_t stride = 1);
    // [N, in, T] to [N, out, T / stride].
    [[nodiscard]] Tensor forward(Tape& tape, const Tensor& x) const;

  private:
    Module path_;
    Module conv_path_;
    std::int64_t in_;
    std::int64_t out_;
    std::int64_t stride_;
};

// Norm over the channels and SiLU, from [N, C, T] to [N, T, C]. `owner` names the activation.
[[nodiscard]] Tensor normed_moments(Tape& tape, const LayerNorm& norm, Module activation,
                                    const Tensor& x);
// [N, T, C] seen as [N, C, T].
[[nodiscard]] Tensor channels_first(const Tensor& x);

// A trained token after those of every moment: [N, T, n, C] to [N, T, n + 1, C], copied once more.
[[nodiscard]] Tensor with_padding_token(Tape& tape, Module owner, const Tensor& x);

}  // namespace plimsoll::memory
