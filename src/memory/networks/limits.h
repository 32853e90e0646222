// SPDX-License-Identifier: Apache-2.0
//
// What a configuration from a file or a question may ask for, so that a builder can refuse the
// rest. All chosen: far above any published network.
#pragma once
#include <cstdint>
#include <initializer_list>
#include <span>

namespace plimsoll::memory {

inline constexpr std::int64_t kWidthMax = 1 << 16;
inline constexpr std::int64_t kDepthMax = 512;  // blocks
inline constexpr std::int64_t kPatchMax = 64;   // cells along a side
inline constexpr double kMlpRatioMax = 64;
inline constexpr std::int64_t kVocabularyMax = 1 << 24;

[[nodiscard]] constexpr bool within(std::int64_t value, std::int64_t low, std::int64_t high) {
    return value >= low && value <= high;
}

// Numbers in one tensor of a walk: so few that a walk's sum of bytes fits 64 bits, and far more
// than any card holds.
inline constexpr std::int64_t kElementsMax = std::int64_t{1} << 55;
// Whether a product of counts that are not negative stays within that.
[[nodiscard]] constexpr bool fits_walk(std::initializer_list<std::int64_t> counts) {
    std::int64_t product = 1;
    for (const std::int64_t count : counts) {
        if (count != 0 && product > kElementsMax / count) return false;
        product *= count;
    }
    return true;
}

// Channels of a head that rotary positions rotate, axis by axis in pairs; negative where an axis is
// not whole pairs.
[[nodiscard]] constexpr std::int64_t rotated_channels(std::span<const int> axes) {
    std::int64_t channels = 0;
    for (const int dim : axes) channels += dim > 0 && dim % 2 == 0 ? dim : -kWidthMax;
    return channels;
}

}  // namespace plimsoll::memory
