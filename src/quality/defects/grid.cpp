// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/grid.h"

#include "base/check.h"

#include <algorithm>
#include <cmath>
#include <limits>
#include <vector>

namespace plimsoll::quality {

namespace {

void add_steps_across(std::span<const float> row, std::span<double> into) {
    for (std::size_t x = 0; x < into.size(); ++x)
        into[x] += static_cast<double>(std::abs(row[x + 1] - row[x]));
}

double steps_down(std::span<const float> above, std::span<const float> below) {
#pragma clang fp reassociate(on)
    float sum = 0;
    for (std::size_t x = 0; x < above.size(); ++x) sum += std::abs(below[x] - above[x]);
    return static_cast<double>(sum);
}

std::optional<double> strongest_by_median(std::span<const double> steps, int period) {
    const auto count = static_cast<std::size_t>(period);
    std::vector<double> phases;
    for (std::size_t phase = 0; phase < count; ++phase) {
        double sum = 0;
        double lines = 0;
        for (std::size_t i = phase; i < steps.size(); i += count) {
            sum += steps[i];
            ++lines;
        }
        phases.push_back(sum / lines);
    }
    const auto median = phases.begin() + period / 2;
    std::ranges::nth_element(phases, median);
    const double strongest = *std::ranges::max_element(phases);
    if (strongest == 0) return std::nullopt;
    // Steps at one phase and nowhere else: the grid is all that there is. One level counts as half
    // of a rounding, so that the ratio stays a number.
    const double least = strongest * 1e-3;
    return strongest / std::max(*median, least);
}

}  // namespace

std::optional<double> grid_ratio(const Plane& whole_luma, int period) {
    CHECK(period >= 2);
    if (whole_luma.width / period < 2 || whole_luma.height / period < 2) return std::nullopt;
    std::vector<double> across(whole_luma.width - 1);
    std::vector<double> down;
    for (int y = 0; y < whole_luma.height; ++y) {
        add_steps_across(whole_luma.row(y), across);
        if (y + 1 < whole_luma.height)
            down.push_back(steps_down(whole_luma.row(y), whole_luma.row(y + 1)));
    }
    const std::optional<double> a = strongest_by_median(across, period);
    const std::optional<double> b = strongest_by_median(down, period);
    if (!a || !b) return a ? a : b;
    return std::max(*a, *b);
}

}  // namespace plimsoll::quality
