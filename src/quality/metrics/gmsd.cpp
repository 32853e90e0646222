// SPDX-License-Identifier: Apache-2.0
#include "quality/metrics/gmsd.h"

#include "base/check.h"
#include "quality/metrics/prewitt.h"

#include <cmath>

namespace plimsoll::quality {

namespace {

constexpr float kC = 170;  // from the paper, for values up to 255

struct Sums {
    double values = 0;
    double squares = 0;
};

// Adds 1 - similarity, which is small where pictures are alike: no digits are lost in its square.
void sum_row(const GradientRow& a, const GradientRow& b, Sums& sums) {
#pragma clang fp reassociate(on)
    float values = 0;
    float squares = 0;
    for (std::size_t x = 0; x < a.across.size(); ++x) {
        const float energy_a = a.across[x] * a.across[x] + a.down[x] * a.down[x];
        const float energy_b = b.across[x] * b.across[x] + b.down[x] * b.down[x];
        const float product = std::sqrt(energy_a * energy_b);
        const float all = energy_a + energy_b;
        const float unlike = (all - 2 * product) / (all + kC);
        values += unlike;
        squares += unlike * unlike;
    }
    sums.values += static_cast<double>(values);
    sums.squares += static_cast<double>(squares);
}

}  // namespace

double gmsd(const Plane& half_a, const Plane& half_b) {
    CHECK(half_a.width == half_b.width && half_a.height == half_b.height);
    CHECK(half_a.width > 0 && half_a.height > 0);
    GradientRow a(half_a.width);
    GradientRow b(half_a.width);
    Sums sums;
    for (int y = 0; y < half_a.height; ++y) {
        take_gradients(half_a, y, a);
        take_gradients(half_b, y, b);
        sum_row(a, b, sums);
    }
    const auto count = static_cast<double>(half_a.count());
    const double mean = sums.values / count;
    return std::sqrt(std::max(0.0, sums.squares / count - mean * mean));
}

}  // namespace plimsoll::quality
