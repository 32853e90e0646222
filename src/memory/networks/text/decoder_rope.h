// SPDX-License-Identifier: Apache-2.0
//
// Rotary position embeddings of language models.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

// Cosines and sines, and what of them is kept since 0.33.0: the sines' second half negated.
struct DecoderRope {
    Tensor cos;
    Tensor sin;
    Tensor negated_sin;
};

enum class Stretched : std::uint8_t { No, Yes };  // frequencies are divided by a factor

// [1, tokens, head_dim] each: the same for the whole batch.
[[nodiscard]] DecoderRope make_rope(Tape& tape, Module module, const Tensor& positions,
                                    std::int64_t head_dim, Stretched stretched);
// A tensor like `x`, whose last dimension is a head's, in the tables' type.
[[nodiscard]] Tensor rotate(Tape& tape, Module module, const Tensor& x, const DecoderRope& rope);

}  // namespace plimsoll::memory
