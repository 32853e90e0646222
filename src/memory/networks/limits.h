// SPDX-License-Identifier: Apache-2.0
//
// What a configuration from a file or a question may ask for, so that a builder can refuse the
// rest. All chosen: far above any published network.
#pragma once
#include <cstdint>
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

// Channels of a head that rotary positions rotate, axis by axis in pairs; negative where an axis is
// not whole pairs.
[[nodiscard]] constexpr std::int64_t rotated_channels(std::span<const int> axes) {
    std::int64_t channels = 0;
    for (const int dim : axes) channels += dim > 0 && dim % 2 == 0 ? dim : -kWidthMax;
    return channels;
}

}  // namespace plimsoll::memory
