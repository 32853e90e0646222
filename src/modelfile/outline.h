// SPDX-License-Identifier: Apache-2.0
//
// Outline: what the tensors of a network say about its size when nobody knows how it runs: how wide
// its layers are, how many follow one another, how it takes its input. Bounds are made of it.
#pragma once
#include "base/units.h"
#include "modelfile/tensor_table.h"

#include <cstdint>
#include <vector>

namespace plimsoll::modelfile {

struct Outline {
    // Channels or features of the widest layer, in or out. Tables that are looked up and lists of
    // words are none.
    std::int64_t widest = 0;
    std::int64_t stream = 0;          // the narrower side of the widest matrix: what goes around it
    std::int64_t depth = 0;           // most blocks that are numbered one after the other
    std::int64_t largest_matrix = 0;  // elements of the largest weight that is multiplied with
    Bytes largest_tensor;             // that is, as stored: no less is on the card at once

    // What reads the input, as far as its name says so: a convolution of even side `kernel` cuts
    // its input in squares; a matrix (`kernel` 1) reads `channels` numbers of each token.
    struct Reader {
        std::int64_t channels = 0;
        std::int64_t kernel = 1;
    };
    std::vector<Reader> readers;  // at most kReadersMax

    [[nodiscard]] bool is_empty() const { return widest == 0; }
};
inline constexpr std::size_t kReadersMax = 16;  // chosen: no network has as many inputs

[[nodiscard]] Outline outline_of(const TensorTable& table);

}  // namespace plimsoll::modelfile
