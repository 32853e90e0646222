// SPDX-License-Identifier: Apache-2.0
//
// Text helpers that the standard library lacks. Pure.
#pragma once
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll {

[[nodiscard]] std::string to_lower_ascii(std::string_view text);
[[nodiscard]] std::string_view trim(std::string_view text);
[[nodiscard]] std::vector<std::string_view> split(std::string_view text, char separator);

// Whole-string numbers: "12", never "12abc" nor "". Infinity and NaN are refused.
[[nodiscard]] std::optional<long long> parse_integer(std::string_view text);

// The canonical form of a UUID.
[[nodiscard]] bool is_uuid(std::string_view text);
[[nodiscard]] std::optional<double> parse_number(std::string_view text);

// Levenshtein distance, case ignored.
[[nodiscard]] std::size_t edit_distance(std::string_view a, std::string_view b);

// Up to `count` of `candidates` that resemble `wanted` most, best first: for "did you mean".
[[nodiscard]] std::vector<std::string> nearest_names(std::string_view wanted,
                                                     std::span<const std::string> candidates,
                                                     std::size_t count);

}  // namespace plimsoll
