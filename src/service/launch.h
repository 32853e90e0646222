// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's command line as a list of words. Pure.
#pragma once
#include "base/units.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

[[nodiscard]] std::vector<std::string> words_of(std::string_view text);

// The same flags with --reserve-vram set to `reserve` (GiB, one decimal), whatever they said about
// it.
[[nodiscard]] std::vector<std::string> with_reserve(const std::vector<std::string>& flags,
                                                    Bytes reserve);

}  // namespace plimsoll::service
