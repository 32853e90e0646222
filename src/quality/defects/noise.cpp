// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/noise.h"

#include <algorithm>
#include <cmath>
#include <vector>

namespace plimsoll::quality {

namespace {

constexpr int kBlock = 16;
// Immerkaer's kernel has the norm 6: noise of deviation s answers with 6 s.
constexpr double kKernelNorm = 6;
// A level that may have been cut off.
constexpr float kDarkMost = 1;
constexpr float kBrightLeast = 254;

struct Block {
    float squares = 0;
    float darkest = 255;
    float brightest = 0;
};

// 1 -2 1, -2 4 -2, 1 -2 1 about every pixel of one row of a block.
void add_row(const Plane& plane, int left, int y, Block& block) {
#pragma clang fp reassociate(on)
    const float* const above = plane.row(y - 1).data() + left - 1;
    const float* const here = plane.row(y).data() + left - 1;
    const float* const below = plane.row(y + 1).data() + left - 1;
    for (int x = 0; x < kBlock; ++x) {
        const float first = above[x] - 2 * here[x] + below[x];
        const float middle = above[x + 1] - 2 * here[x + 1] + below[x + 1];
        const float last = above[x + 2] - 2 * here[x + 2] + below[x + 2];
        const float answer = first - 2 * middle + last;
        block.squares += answer * answer;
        block.darkest = std::min(block.darkest, here[x + 1]);
        block.brightest = std::max(block.brightest, here[x + 1]);
    }
}

}  // namespace

std::optional<double> flat_noise(const Plane& whole_luma) {
    std::vector<double> deviations;
    // From the second pixel on, so that the kernel lies inside.
    for (int top = 1; top + kBlock < whole_luma.height; top += kBlock)
        for (int left = 1; left + kBlock < whole_luma.width; left += kBlock) {
            Block block;
            for (int y = 0; y < kBlock; ++y) add_row(whole_luma, left, top + y, block);
            if (block.darkest <= kDarkMost || block.brightest >= kBrightLeast) continue;
            deviations.push_back(std::sqrt(static_cast<double>(block.squares) / (kBlock * kBlock)) /
                                 kKernelNorm);
        }
    if (deviations.size() < kFlatBlocksLeast) return std::nullopt;
    const auto tenth = deviations.begin() + static_cast<std::ptrdiff_t>(deviations.size() / 10);
    std::ranges::nth_element(deviations, tenth);
    return *tenth;
}

}  // namespace plimsoll::quality
