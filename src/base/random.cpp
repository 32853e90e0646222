// SPDX-License-Identifier: Apache-2.0
#include "base/random.h"

#include <fmt/format.h>

#include <cmath>
#include <numbers>
#include <random>

namespace plimsoll {

double Random::next_normal() {
    const double u = 1.0 - next_unit();  // in (0, 1], so that the logarithm is finite
    const double v = next_unit();
    return std::sqrt(-2.0 * std::log(u)) * std::cos(2.0 * std::numbers::pi * v);
}

std::string Random::next_uuid() {
    const std::uint64_t high = (next_u64() & 0xFFFFFFFFFFFF0FFFULL) | 0x4000ULL;  // version 4
    const std::uint64_t low =
        (next_u64() & 0x3FFFFFFFFFFFFFFFULL) | 0x8000000000000000ULL;  // RFC 4122 variant
    return fmt::format("{:08x}-{:04x}-{:04x}-{:04x}-{:012x}", high >> 32U, (high >> 16U) & 0xFFFFU,
                       high & 0xFFFFU, low >> 48U, low & 0xFFFFFFFFFFFFULL);
}

std::uint64_t os_seed() {
    std::random_device device;
    return (static_cast<std::uint64_t>(device()) << 32U) ^ device();
}

}  // namespace plimsoll
