// SPDX-License-Identifier: Apache-2.0
//
// Chance of a pure folder: numbers that follow from a seed and nothing else, so that an answer can
// be computed again. SplitMix64 (Steele, Lea, Flood 2014).
#pragma once
#include <cstddef>
#include <cstdint>

namespace plimsoll::quality {

class Draws {
  public:
    explicit Draws(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next() {
        state_ += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31U);
    }
    // Below `count`, which is not 0. The bias is below count / 2^32.
    std::size_t next_below(std::size_t count) {
        return static_cast<std::size_t>((next() >> 32U) * count >> 32U);
    }

  private:
    std::uint64_t state_;
};

}  // namespace plimsoll::quality
