// SPDX-License-Identifier: Apache-2.0
#include "quality/shrink.h"

#include "base/check.h"

#include <algorithm>
#include <cmath>
#include <cstddef>
#include <cstdint>
#include <vector>

namespace plimsoll::quality {

namespace {

// Which old pixels lie under a new one, and how much of the first and the last of them.
struct Cover {
    int first = 0;
    int last = 0;
    float first_weight = 1;
    float last_weight = 1;
    float total = 1;
};

std::vector<Cover> cover(int from, int to) {
    const double step = static_cast<double>(from) / to;
    std::vector<Cover> out(static_cast<std::size_t>(to));
    for (int i = 0; i < to; ++i) {
        const double begin = i * step;
        const double end = std::min<double>(from, begin + step);
        Cover& one = out[static_cast<std::size_t>(i)];
        one.first = std::min(from - 1, static_cast<int>(begin));
        one.last = std::clamp(static_cast<int>(std::ceil(end)) - 1, one.first, from - 1);
        if (one.first < one.last) {
            one.first_weight = static_cast<float>(one.first + 1 - begin);
            one.last_weight = static_cast<float>(end - one.last);
            one.total =
                one.first_weight + one.last_weight + static_cast<float>(one.last - one.first - 1);
        }
    }
    return out;
}

float weight_of(const Cover& one, int i) {
    if (one.first == one.last) return 1;
    return i == one.first ? one.first_weight : i == one.last ? one.last_weight : 1;
}

}  // namespace

Image shrunk(const Image& image, int side_max) {
    CHECK(image.count() > 0 && side_max >= 1);
    const int longer = std::max(image.width, image.height);
    if (longer <= side_max) return image;
    const double share = static_cast<double>(side_max) / longer;
    const int width = std::max(1, static_cast<int>(std::lround(image.width * share)));
    const int height = std::max(1, static_cast<int>(std::lround(image.height * share)));
    const std::vector<Cover> columns = cover(image.width, width);
    const std::vector<Cover> rows = cover(image.height, height);
    Image out(width, height);
    std::vector<float> sums(static_cast<std::size_t>(image.width));
    for (int c = 0; c < 3; ++c)
        for (int y = 0; y < height; ++y) {
            const Cover& over = rows[static_cast<std::size_t>(y)];
            std::ranges::fill(sums, 0.0F);
            for (int from = over.first; from <= over.last; ++from) {
                const auto row = image.row(c, from);
                const float weight = weight_of(over, from);
                for (std::size_t x = 0; x < sums.size(); ++x)
                    sums[x] += weight * static_cast<float>(row[x]);
            }
            const auto into = out.row(c, y);
            for (int x = 0; x < width; ++x) {
                const Cover& across = columns[static_cast<std::size_t>(x)];
                float sum = 0;
                for (int from = across.first; from <= across.last; ++from)
                    sum += weight_of(across, from) * sums[static_cast<std::size_t>(from)];
                into[static_cast<std::size_t>(x)] = static_cast<std::uint16_t>(
                    std::min(65535.0F, sum / (over.total * across.total) + 0.5F));
            }
        }
    return out;
}

}  // namespace plimsoll::quality
