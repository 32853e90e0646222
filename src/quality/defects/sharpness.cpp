// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/sharpness.h"

#include "base/check.h"

namespace plimsoll::quality {

namespace {

struct Sums {
    double laplacian = 0;
    double laplacian_squares = 0;
    double gradient_squares = 0;
    double luma = 0;
    double luma_squares = 0;
};

void add_row(const Plane& plane, int y, Sums& sums) {
#pragma clang fp reassociate(on)
    const float* const above = plane.row(y - 1).data();
    const float* const here = plane.row(y).data();
    const float* const below = plane.row(y + 1).data();
    float laplacian = 0;
    float laplacian_squares = 0;
    float gradient_squares = 0;
    for (std::size_t x = 1; x + 1 < static_cast<std::size_t>(plane.width); ++x) {
        const float answer = here[x - 1] + here[x + 1] + above[x] + below[x] - 4 * here[x];
        laplacian += answer;
        laplacian_squares += answer * answer;
        const float across = above[x + 1] - above[x - 1] + 2 * (here[x + 1] - here[x - 1]) +
                             below[x + 1] - below[x - 1];
        const float down =
            below[x - 1] + 2 * below[x] + below[x + 1] - above[x - 1] - 2 * above[x] - above[x + 1];
        gradient_squares += across * across + down * down;
    }
    sums.laplacian += static_cast<double>(laplacian);
    sums.laplacian_squares += static_cast<double>(laplacian_squares);
    sums.gradient_squares += static_cast<double>(gradient_squares);
}

void add_luma(std::span<const float> row, Sums& sums) {
#pragma clang fp reassociate(on)
    float luma = 0;
    float squares = 0;
    for (const float value : row) {
        luma += value - 128;
        squares += (value - 128) * (value - 128);
    }
    sums.luma += static_cast<double>(luma);
    sums.luma_squares += static_cast<double>(squares);
}

double variance(double sum, double squares, double count) {
    const double mean = sum / count;
    return std::max(0.0, squares / count - mean * mean);
}

}  // namespace

std::optional<double> Sharpness::for_contrast() const {
    if (luma_variance <= 0) return std::nullopt;
    return laplacian_variance / luma_variance;
}

std::optional<double> Sharpness::edges_for_contrast() const {
    if (luma_variance <= 0) return std::nullopt;
    return tenengrad / luma_variance;
}

Sharpness measure_sharpness(const Plane& whole_luma) {
    CHECK(whole_luma.width >= kSharpnessSideLeast && whole_luma.height >= kSharpnessSideLeast);
    Sums sums;
    for (int y = 0; y < whole_luma.height; ++y) {
        add_luma(whole_luma.row(y), sums);
        if (y > 0 && y + 1 < whole_luma.height) add_row(whole_luma, y, sums);
    }
    const double inner = (whole_luma.width - 2.0) * (whole_luma.height - 2.0);
    return {.laplacian_variance = variance(sums.laplacian, sums.laplacian_squares, inner),
            .tenengrad = sums.gradient_squares / inner,
            .luma_variance =
                variance(sums.luma, sums.luma_squares, static_cast<double>(whole_luma.count()))};
}

std::optional<double> sharpness_ratio(const Sharpness& reference, const Sharpness& candidate) {
    const std::optional<double> of_reference = reference.for_contrast();
    const std::optional<double> of_candidate = candidate.for_contrast();
    if (!of_reference || !of_candidate || *of_reference <= 0 || *of_candidate <= 0)
        return std::nullopt;
    return *of_candidate / *of_reference;
}

}  // namespace plimsoll::quality
