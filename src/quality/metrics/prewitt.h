// SPDX-License-Identifier: Apache-2.0
//
// Gradients as GMSD and MDSI take them: Prewitt's kernels by 1/3, with zeros around the picture.
#pragma once
#include "quality/image.h"

#include <algorithm>
#include <array>
#include <vector>

namespace plimsoll::quality {

// Both gradients of one row.
struct GradientRow {
    std::vector<float> across;
    std::vector<float> down;
    std::vector<float> column_sums;  // of the rows above, here and below, a zero at either end
    std::vector<float> column_steps;

    explicit GradientRow(int width)
        : across(width), down(width), column_sums(width + 2), column_steps(width + 2) {}
};

inline void take_gradients(const Plane& plane, int y, GradientRow& into) {
    const std::vector<float> none(y == 0 || y == plane.height - 1 ? plane.width : 0);
    const float* const above = y == 0 ? none.data() : plane.row(y - 1).data();
    const float* const here = plane.row(y).data();
    const float* const below = y == plane.height - 1 ? none.data() : plane.row(y + 1).data();
    const auto width = static_cast<std::size_t>(plane.width);
    float* const sums = into.column_sums.data();
    float* const steps = into.column_steps.data();
    for (std::size_t x = 0; x < width; ++x) {
        sums[x + 1] = above[x] + here[x] + below[x];
        steps[x + 1] = below[x] - above[x];
    }
    float* const across = into.across.data();
    float* const down = into.down.data();
    for (std::size_t x = 0; x < width; ++x) {
        across[x] = (sums[x + 2] - sums[x]) * (1.0F / 3);
        down[x] = (steps[x] + steps[x + 1] + steps[x + 2]) * (1.0F / 3);
    }
}

}  // namespace plimsoll::quality
