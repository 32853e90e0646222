// SPDX-License-Identifier: Apache-2.0
//
// Text on a terminal: how wide it is there, and texts from outside made harmless (a file name or a
// node's title may hold escape sequences). Pure.
#pragma once
#include <cstddef>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::cli {

// Control characters as '?', so that a text from outside cannot move the cursor or change the
// title. Broken UTF-8 as U+FFFD.
[[nodiscard]] std::string plain(std::string_view text);

// Columns that the text takes: 2 for wide East Asian characters, 0 for combining marks and for our
// own colour sequences.
[[nodiscard]] std::size_t columns_of(std::string_view text);

// At most `columns` wide, the end replaced by "..." where something was cut.
[[nodiscard]] std::string shortened(std::string_view text, std::size_t columns);

// The same with the beginning cut. For texts without colours.
[[nodiscard]] std::string shortened_front(std::string_view text, std::size_t columns);

// Lines of at most `columns`, the first one shorter by `used`, broken at spaces; a longer word
// stays whole.
[[nodiscard]] std::vector<std::string> wrapped(std::string_view text, std::size_t columns,
                                               std::size_t used = 0);

}  // namespace plimsoll::cli
