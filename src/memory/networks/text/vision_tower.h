// SPDX-License-Identifier: Apache-2.0
//
// The vision towers that language models bring along: weights only. They are loaded with the model
// and idle while text is encoded.
#pragma once
#include "memory/networks/layers.h"

#include <string_view>

namespace plimsoll::memory {

[[nodiscard]] bool is_vision_tower(std::string_view kind);  // "none" is one, without weights
// Writes down the tower's modules. `width`: of the language model.
void register_vision_tower(Registry& registry, std::string_view kind, std::int64_t width);

}  // namespace plimsoll::memory
