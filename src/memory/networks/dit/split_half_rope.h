// SPDX-License-Identifier: Apache-2.0
//
// Rotary positions whose pairs are a channel of the first half of a head and one of the second.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

// `x`: [N, tokens, heads, dim]; `table`: [.., tokens, dim / 2, 2, 2] in fp32. The caller's variable
// lives on until the result, in the type of `x`, is there.
[[nodiscard]] Tensor apply_rope_split_half(Tape& tape, Module module, const Tensor& x,
                                           const Tensor& table);
// Query or key normalised over the head and rotated, which newer builds do in one kernel.
[[nodiscard]] Tensor normalise_and_rotate(Tape& tape, Module module, const Tensor& x,
                                          const Tensor& table);

}  // namespace plimsoll::memory
