// SPDX-License-Identifier: Apache-2.0
//
// What all readers share about claims from outside: limits, the check of a shape, and names fit for
// a message.
#pragma once
#include "modelfile/tensor_table.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {

inline constexpr std::size_t kTensorsMax =
    500'000;  // chosen: the largest real file seen has under 20,000
inline constexpr std::size_t kTensorNameBytesMax =
    4096;                                    // chosen: the longest real name seen has under 200
inline constexpr std::size_t kRankMax = 32;  // chosen: real tensors have at most 5 axes

// Bytes that `shape` occupies in `dtype`, or nullopt where an axis is negative or the product
// overflows.
[[nodiscard]] inline std::optional<Bytes> checked_storage_bytes(DType dtype, const Shape& shape) {
    std::int64_t elements = 1;
    bool is_empty = false;
    for (const std::int64_t axis : shape) {
        if (axis < 0) return std::nullopt;
        if (axis == 0) is_empty = true;
        if (axis > 0 && __builtin_mul_overflow(elements, axis, &elements)) return std::nullopt;
    }
    if (is_empty) return Bytes(0);
    const DTypeTraits& traits = dtype_traits(dtype);
    const std::int64_t blocks =
        elements / traits.block_elements + (elements % traits.block_elements != 0 ? 1 : 0);
    std::int64_t bytes = 0;
    if (__builtin_mul_overflow(blocks, std::int64_t{traits.block_bytes}, &bytes))
        return std::nullopt;
    return Bytes(bytes);
}

// A name from outside in a message: quoted, short, printable ASCII only, so that it cannot play
// with a terminal.
[[nodiscard]] inline std::string shown_name(std::string_view name) {
    constexpr std::size_t kShownMax = 80;
    std::string shown = "\"";
    for (const char c : name.substr(0, kShownMax)) shown += c >= 0x20 && c < 0x7f ? c : '?';
    return shown + (name.size() > kShownMax ? "...\"" : "\"");
}

}  // namespace plimsoll::modelfile
