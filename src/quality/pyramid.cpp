// SPDX-License-Identifier: Apache-2.0
#include "quality/pyramid.h"

#include "base/check.h"

#include <algorithm>
#include <cstdint>

namespace plimsoll::quality {

namespace {

// The sums of `side` neighbours of `from`, times `scale`.
void pool_row(std::span<const std::uint32_t> from, int side, float scale, std::span<float> into) {
    const auto step = static_cast<std::size_t>(side);
    for (std::size_t x = 0; x < into.size(); ++x) {
        std::uint32_t sum = 0;
        for (std::size_t i = 0; i < step; ++i) sum += from[x * step + i];
        into[x] = static_cast<float>(sum) * scale;
    }
}

Plane pooled_channel(const Image& image, int channel, int side) {
    Plane plane(image.width / side, image.height / side);
    const float scale = 1.0F / static_cast<float>(kSamplesPerLevel * side * side);
    std::vector<std::uint32_t> sums(image.width);
    for (int y = 0; y < plane.height; ++y) {
        std::ranges::fill(sums, 0U);
        for (int i = 0; i < side; ++i) {
            const std::span<const std::uint16_t> row = image.row(channel, y * side + i);
            for (std::size_t x = 0; x < sums.size(); ++x) sums[x] += row[x];
        }
        // The two most frequent sides are constants, so that they are unrolled.
        if (side == 2)
            pool_row(sums, 2, scale, plane.row(y));
        else if (side == 4)
            pool_row(sums, 4, scale, plane.row(y));
        else
            pool_row(sums, side, scale, plane.row(y));
    }
    return plane;
}

}  // namespace

Colours pooled(const Image& image, int side) {
    // 16-bit samples: the sum of 256 x 256 of them still fits.
    CHECK(side >= 1 && side <= 256);
    return {{pooled_channel(image, 0, side), pooled_channel(image, 1, side),
             pooled_channel(image, 2, side)}};
}

Colours halved(const Colours& colours) {
    return {{halved(colours.planes[0]), halved(colours.planes[1]), halved(colours.planes[2])}};
}

Pyramid make_pyramid(const Image& image) {
    Pyramid pyramid;
    pyramid.luma.push_back(whole_luma(image));
    while (pyramid.luma.size() < kLumaLevels) pyramid.luma.push_back(halved(pyramid.luma.back()));
    pyramid.colours.push_back(pooled(image, 2));
    while (pyramid.colours.size() < kColourLevels)
        pyramid.colours.push_back(halved(pyramid.colours.back()));
    return pyramid;
}

}  // namespace plimsoll::quality
