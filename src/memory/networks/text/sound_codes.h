// SPDX-License-Identifier: Apache-2.0
//
// MiniMax Music 3's language model writes sound: for each moment it chooses one code, and a small
// transformer behind it seven more, one after the other, each from those before.
#pragma once
#include "memory/networks/layers.h"
#include "memory/networks/text/text_encoder.h"

#include <cstdint>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class SoundCodes {
  public:
    // `millibits`: of its layers' matrices, see DecoderConfig; the heads are in 16 bit.
    SoundCodes(Registry& registry, std::string_view path, std::int64_t width, int millibits);
    // Chooses a moment's codes after `hidden`, [N, 1, width]. Gives what the next forward reads.
    [[nodiscard]] Tensor write(Tape& tape, const Tensor& hidden) const;

  private:
    struct Layer {
        Module path;
        Module norm1;
        Linear q;
        Linear k;
        Linear v;
        Linear out;
        Module norm2;
        Linear gate;
        Linear up;
        Linear down;
    };
    [[nodiscard]] Layer make_layer(Registry& registry, std::string_view path) const;
    [[nodiscard]] Tensor run_layer(Tape& tape, const Layer& layer, const Tensor& input) const;

    std::int64_t width_;
    Module root_;
    std::optional<Linear> first_head_;
    std::optional<Linear> projection_;
    std::vector<Linear> heads_;
    std::vector<Layer> layers_;
    Module norm_;
};

}  // namespace plimsoll::memory
