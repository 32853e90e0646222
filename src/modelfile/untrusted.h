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
inline constexpr std::uint64_t kMetadataPairsMax =
    100'000;  // chosen: ComfyUI-GGUF stores one per reshaped tensor, others a few dozen
// Chosen: a thousand times the largest real tensor seen, and kTensorsMax of them still sum up
// within 63 bits, in elements as in bytes.
inline constexpr std::int64_t kTensorElementsMax = std::int64_t{1} << 40U;

// Bytes that `shape` occupies in `dtype`, or nullopt where an axis is negative or there are more
// than kTensorElementsMax elements.
[[nodiscard]] inline std::optional<Bytes> checked_storage_bytes(DType dtype, const Shape& shape) {
    std::int64_t elements = 1;
    bool is_empty = false;
    for (const std::int64_t axis : shape) {
        if (axis < 0) return std::nullopt;
        if (axis == 0) is_empty = true;
        if (axis > 0 && __builtin_mul_overflow(elements, axis, &elements)) return std::nullopt;
    }
    if (is_empty) return Bytes(0);
    if (elements > kTensorElementsMax) return std::nullopt;
    return storage_bytes(dtype, elements);
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
