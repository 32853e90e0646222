// SPDX-License-Identifier: Apache-2.0
//
// How a network tells the tokens of reference images from its own.
#pragma once
#include <cstdint>
#include <string_view>

namespace plimsoll::memory {

enum class ReferenceMethod : std::uint8_t {
    Usual,              // as the network does without being told
    Index,              // by positions
    IndexTimestepZero,  // by positions, and by modulating them as of timestep zero
};

// As ComfyUI's nodes spell it; any other text is of positions alone.
[[nodiscard]] inline ReferenceMethod reference_method(std::string_view text) {
    return text == "index_timestep_zero" ? ReferenceMethod::IndexTimestepZero
                                         : ReferenceMethod::Index;
}

}  // namespace plimsoll::memory
