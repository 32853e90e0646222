// SPDX-License-Identifier: Apache-2.0
//
// How a language model that writes text chooses the next word.
#pragma once
#include "memory/networks/layers.h"

namespace plimsoll::memory {

// Scores of all words, [N, 1, words], from the last token of `x`, by the table of words or a head
// of the same size. `kept_in_16_bit`: it is multiplied with as it is.
[[nodiscard]] Tensor score_words(Tape& tape, Module module, const Tensor& x, std::int64_t words,
                                 bool kept_in_16_bit);
// One of them drawn as by the nodes' defaults: temperature, the likeliest few by three measures, a
// draw. Guidance by a negative prompt leaves the scores of one text.
void choose_word(Tape& tape, Module module, const Tensor& scores);

}  // namespace plimsoll::memory
