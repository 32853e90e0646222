// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/lora.h"

#include "memory/residency/dtypes.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::memory {

namespace {

// Weight, product, scaled product; the matrices are gone when the product is scaled.
std::int64_t arithmetic_bytes(std::int64_t elements, std::int64_t low_rank_elements,
                              std::int64_t element_bytes) {
    const std::int64_t multiplied = 2 * elements + low_rank_elements;
    const std::int64_t scaled = 3 * elements;
    return std::max(multiplied, scaled) * element_bytes;
}

// Rounding to fp8 goes through the rows in slices of so many elements, in fp16: at its height the
// slice, its sign, magnitude and exponent, a mask of one byte, and the two branches of a choice
// with its result.
constexpr std::int64_t kSliceMax = 4096LL * 4096;
constexpr std::int64_t kSliceBytes = 4 * 2 + 1 + 3 * 2;

std::int64_t rounding_bytes(std::int64_t elements, std::int64_t element_bytes) {
    return elements * (element_bytes + 1) + std::min(elements, kSliceMax) * kSliceBytes;
}

}  // namespace

int merge_element_bytes(const Server& server, const Device& device) {
    const bool half = server.version >= kNewerTables && computes_fp16(device, server.flags);
    return half ? 2 : 4;
}

LowRank::LowRank(const LoadableModel& model, const Patches& patches) : model_(model) {
    double roots = 0;
    for (std::size_t i = 0; i < model.units.size(); ++i)
        if (patches.has(i)) roots += std::sqrt(static_cast<double>(model.units[i].elements));
    if (roots > 0) per_root_ = static_cast<double>(patches.low_rank_elements) / roots;
}

std::int64_t LowRank::elements(std::size_t unit) const {
    return static_cast<std::int64_t>(per_root_ *
                                     std::sqrt(static_cast<double>(model_.units[unit].elements)));
}

std::int64_t merge_bytes(const LoadUnit& unit, std::int64_t low_rank_elements, int element_bytes) {
    if (unit.packed) return 0;  // never merged: patched on every call
    const std::int64_t merged = arithmetic_bytes(unit.elements, low_rank_elements, element_bytes);
    const bool rounds = unit.bytes < 2 * unit.elements;  // stored in fp8
    return rounds ? std::max(merged, rounding_bytes(unit.elements, element_bytes)) : merged;
}

std::int64_t patched_copy_bytes(const LoadUnit& unit, std::int64_t low_rank_elements,
                                std::int64_t compute_element_bytes) {
    // Packed weights are patched in fp32, whatever they compute in (ComfyUI-GGUF).
    constexpr std::int64_t kSingle = 4;
    return arithmetic_bytes(unit.elements, low_rank_elements,
                            unit.packed ? kSingle : compute_element_bytes);
}

}  // namespace plimsoll::memory
