// SPDX-License-Identifier: Apache-2.0
//
// Expressions over a node's inputs: those of the node catalogue ("(length - 1) // 4 + 1") and those
// that a workflow's math nodes carry. Python's syntax and meaning, of numbers and texts. Input is
// untrusted: no loops, no calls but the functions listed, bounded length, depth and size of texts.
//
// Threads: no shared state.
#pragma once
#include <cstddef>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <variant>

namespace plimsoll::workflow {

inline constexpr std::size_t kExpressionBytesMax = 4096;   // chosen: far above what people write
inline constexpr int kExpressionDepthMax = 64;             // chosen: brackets in brackets
inline constexpr std::size_t kScalarBytesMax = 256 << 10;  // chosen: a very long prompt

using Scalar = std::variant<double, std::string>;
// What a name stands for: "width", "image.height", "values.a"; nullopt where nobody knows.
using ScalarLookup = std::function<std::optional<Scalar>(std::string_view name)>;

// nullopt for what is no expression, depends on what is not known, or has no finite value.
//
// Operators: + - * / // % ** comparisons, and, or, not, `a if c else b`, brackets; + joins texts.
// Functions: min max abs round floor ceil trunc sqrt pow log exp sin cos int float bool len str,
// upper lower strip replace(text, old, new), numbers(text) (how many numbers a text lists),
// json(text, key), default(a, b) (b where a is not known).
[[nodiscard]] std::optional<Scalar> evaluate_expression(std::string_view text,
                                                        const ScalarLookup& lookup);

// A number, also one that is written as text (" 5.0 "); nullopt else.
[[nodiscard]] std::optional<double> number_of(const Scalar& scalar);

}  // namespace plimsoll::workflow
