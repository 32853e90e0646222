// SPDX-License-Identifier: Apache-2.0
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::memory {

// Element types of activations and of weights on the card.
enum class ComputeType : std::uint8_t {
    Float32,
    Float16,
    BFloat16,
    Float8E4M3,
    Float8E5M2,
    Int8,  // of weights only
};
[[nodiscard]] std::string_view compute_type_name(ComputeType type);  // "fp32", "fp16", ...
[[nodiscard]] std::optional<ComputeType> parse_compute_type(std::string_view name);
[[nodiscard]] int bytes_per_element(ComputeType type);

}  // namespace plimsoll::memory
