// SPDX-License-Identifier: Apache-2.0
//
// A picture at the scales at which it is compared, made once and read by every metric: luma from
// the full size down, colours from the half down (the metrics that see colour begin with a mean of
// 2 x 2 pixels themselves). 7 floats a pixel at most.
#pragma once
#include "quality/image.h"

#include <array>
#include <vector>

namespace plimsoll::quality {

// Red, green and blue, 0 to 255.
struct Colours {
    std::array<Plane, 3> planes;

    [[nodiscard]] int width() const { return planes[0].width; }
    [[nodiscard]] int height() const { return planes[0].height; }
};

inline constexpr int kLumaLevels = 5;  // MS-SSIM's
inline constexpr int kColourLevels =
    3;  // half, quarter, eighth: what Full, Half, Quarter begin with

struct Pyramid {
    std::vector<Plane> luma;       // luma[0] at full size and in whole levels
    std::vector<Colours> colours;  // colours[0] at half the size
};
[[nodiscard]] Pyramid make_pyramid(const Image& image);

// Means of `side` x `side` pixels; what is left over at the right and the bottom is dropped.
[[nodiscard]] Colours pooled(const Image& image, int side);
[[nodiscard]] Colours halved(const Colours& colours);

}  // namespace plimsoll::quality
