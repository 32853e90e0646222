// SPDX-License-Identifier: Apache-2.0
#include "quality/metrics/ssim.h"

#include "base/check.h"
#include "quality/separable.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::quality {

namespace {

constexpr int kWindow = kSsimSideLeast;
constexpr double kSigma = 1.5;
// (0.01 * 255)^2 and (0.03 * 255)^2, from the paper.
constexpr float kC1 = 6.5025F;
constexpr float kC2 = 58.5225F;

// What the statistics are made of; the two squares are only ever needed together.
enum Signal { A, B, Squares, Product, kSignals };
using Ring = RowRing<kWindow, kSignals>;

void filter_rows(const HalfKernel<kWindow>& kernel, std::span<const float> a,
                 std::span<const float> b, std::span<float> work, Ring& ring, int y) {
    filter_row<kWindow>(kernel, a.data(), ring.row(y, A));
    filter_row<kWindow>(kernel, b.data(), ring.row(y, B));
    for (std::size_t x = 0; x < a.size(); ++x) work[x] = a[x] * a[x] + b[x] * b[x];
    filter_row<kWindow>(kernel, work.data(), ring.row(y, Squares));
    for (std::size_t x = 0; x < a.size(); ++x) work[x] = a[x] * b[x];
    filter_row<kWindow>(kernel, work.data(), ring.row(y, Product));
}

// Adds the row's sums.
void sum_row(const std::array<std::vector<float>, kSignals>& means, SsimMeans& sums) {
#pragma clang fp reassociate(on)
    const std::size_t width = means[A].size();
    float ssim = 0;
    float contrast_structure = 0;
    for (std::size_t x = 0; x < width; ++x) {
        const float product = means[A][x] * means[B][x];
        const float squares = means[A][x] * means[A][x] + means[B][x] * means[B][x];
        const float structure = (2 * (means[Product][x] - product) + kC2) /
                                (std::max(means[Squares][x] - squares, 0.0F) + kC2);
        contrast_structure += structure;
        ssim += structure * (2 * product + kC1) / (squares + kC1);
    }
    sums.ssim += static_cast<double>(ssim);
    sums.contrast_structure += static_cast<double>(contrast_structure);
}

}  // namespace

SsimMeans ssim_means(const Plane& a, const Plane& b) {
    CHECK(a.width == b.width && a.height == b.height);
    CHECK(a.width >= kWindow && a.height >= kWindow);
    const HalfKernel<kWindow> kernel = gaussian<kWindow>(kSigma);
    const int width = a.width - kWindow + 1;
    const int height = a.height - kWindow + 1;
    Ring ring(width);
    std::vector<float> work(a.width);
    std::array<std::vector<float>, kSignals> means;
    for (std::vector<float>& mean : means) mean.resize(width);
    SsimMeans sums;
    for (int y = 0; y < a.height; ++y) {
        filter_rows(kernel, a.row(y), b.row(y), work, ring, y);
        const int top = y - kWindow + 1;
        if (top < 0) continue;
        for (int s = 0; s < kSignals; ++s) ring.filter_column(kernel, top, s, means.at(s));
        sum_row(means, sums);
    }
    const double count = static_cast<double>(width) * height;
    return {.ssim = sums.ssim / count, .contrast_structure = sums.contrast_structure / count};
}

double ms_ssim(std::span<const SsimMeans, 5> scales) {
    // From the paper.
    constexpr std::array<double, 5> kWeights{0.0448, 0.2856, 0.3001, 0.2363, 0.1333};
    double product = std::pow(std::max(scales[4].ssim, 0.0), kWeights[4]);
    for (std::size_t i = 0; i < 4; ++i)
        product *= std::pow(std::max(scales[i].contrast_structure, 0.0), kWeights.at(i));
    return product;
}

}  // namespace plimsoll::quality
