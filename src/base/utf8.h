// SPDX-License-Identifier: Apache-2.0
//
// UTF-8 from outside: read point by point, checked, made valid. Pure.
#pragma once
#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll {

struct CodePoint {
    std::uint32_t value = 0;
    std::size_t bytes = 1;
    bool good = false;
};
// RFC 3629: no overlong forms, no surrogates, nothing above U+10FFFF. Of what is broken one byte is
// taken. `at` must be inside the text.
[[nodiscard]] CodePoint code_point_at(std::string_view text, std::size_t at);

[[nodiscard]] bool is_utf8(std::string_view text);

// Broken UTF-8 as U+FFFD, all else as it is: JSON allows nothing else.
[[nodiscard]] std::string valid_utf8(std::string_view text);

}  // namespace plimsoll
