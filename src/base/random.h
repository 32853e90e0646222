// SPDX-License-Identifier: Apache-2.0
//
// Seam: randomness enters through Random; everything random in Plimsoll can be repeated from one
// seed. SplitMix64 (Steele, Lea, Flood 2014): same numbers on every platform, unlike the standard
// distributions.
#pragma once
#include <cstdint>
#include <string>

namespace plimsoll {

class Random {
  public:
    explicit Random(std::uint64_t seed) : state_(seed) {}

    std::uint64_t next_u64() {
        state_ += 0x9E3779B97F4A7C15ULL;
        std::uint64_t z = state_;
        z = (z ^ (z >> 30U)) * 0xBF58476D1CE4E5B9ULL;
        z = (z ^ (z >> 27U)) * 0x94D049BB133111EBULL;
        return z ^ (z >> 31U);
    }
    // Uniform in [0, 1).
    double next_unit() { return static_cast<double>(next_u64() >> 11U) * 0x1.0p-53; }
    // Standard normal (Box-Muller).
    double next_normal();
    // A version 4 UUID in canonical lower case, as ComfyUI wants prompt ids.
    std::string next_uuid();

  private:
    std::uint64_t state_;
};

// A seed from the operating system, for ids that must not repeat.
[[nodiscard]] std::uint64_t os_seed();

}  // namespace plimsoll
