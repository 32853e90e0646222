// SPDX-License-Identifier: Apache-2.0
#include "memory/compute_type.h"

#include <array>

namespace plimsoll::memory {

namespace {
struct Type {
    std::string_view name;
    int bytes;
};
constexpr std::array<Type, 6> kTypes = {
    {{"fp32", 4}, {"fp16", 2}, {"bf16", 2}, {"fp8_e4m3fn", 1}, {"fp8_e5m2", 1}, {"int8", 1}}};
}  // namespace

std::string_view compute_type_name(ComputeType type) {
    return kTypes[static_cast<std::size_t>(type)].name;
}

std::optional<ComputeType> parse_compute_type(std::string_view name) {
    if (name == "fp8") return ComputeType::Float8E4M3;
    for (std::size_t i = 0; i < kTypes.size(); ++i)
        if (kTypes[i].name == name) return static_cast<ComputeType>(i);
    return std::nullopt;
}

int bytes_per_element(ComputeType type) {
    return kTypes[static_cast<std::size_t>(type)].bytes;
}

}  // namespace plimsoll::memory
