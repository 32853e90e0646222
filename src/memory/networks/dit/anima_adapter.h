// SPDX-License-Identifier: Apache-2.0
//
// Anima's adapter: a small transformer, part of the network, that turns the language model's text
// into what the blocks attend to. It runs once for a prompt, before sampling.
#pragma once
#include "memory/networks/layers.h"

#include <string_view>

namespace plimsoll::memory {

void add_anima_adapter(Registry& registry, std::string_view path);

}  // namespace plimsoll::memory
