// SPDX-License-Identifier: Apache-2.0
#include "quality/natural/statistics.h"

#include "quality/separable.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <vector>

namespace plimsoll::quality {

namespace {

constexpr int kWindow = 7;
constexpr int kReach = kWindow / 2;
constexpr double kSigma = 7.0 / 6;
// Taken off before squares are, so that floats keep their digits: a window's variance does not
// know.
constexpr float kMiddle = 128;

constexpr double kAlphaLeast = 0.2;
constexpr double kAlphaStep = 0.001;
constexpr std::size_t kAlphas = 9801;

double alpha_at(std::size_t index) {
    return kAlphaLeast + static_cast<double>(index) * kAlphaStep;
}

// E|x|^2 / E[x^2] of a generalised Gaussian, which rises with alpha.
const std::vector<double>& ratios() {
    static const std::vector<double> table = [] {
        std::vector<double> out(kAlphas);
        for (std::size_t i = 0; i < kAlphas; ++i) {
            const double a = alpha_at(i);
            out[i] = std::exp(2 * std::lgamma(2 / a) - std::lgamma(1 / a) - std::lgamma(3 / a));
        }
        return out;
    }();
    return table;
}

double alpha_of(double ratio) {
    const std::vector<double>& table = ratios();
    const auto above = std::ranges::lower_bound(table, ratio);
    if (above == table.begin()) return alpha_at(0);
    if (above == table.end()) return alpha_at(kAlphas - 1);
    const auto index = static_cast<std::size_t>(above - table.begin());
    return alpha_at(*above - ratio < ratio - table[index - 1] ? index : index - 1);
}

// The row with kReach pixels of border at both ends, less kMiddle.
void take_line(const Plane& plane, int y, Border border, std::vector<float>& into) {
    const bool inside = y >= 0 && y < plane.height;
    if (!inside && border == Border::Zero) {
        std::ranges::fill(into, -kMiddle);
        return;
    }
    const std::span<const float> row = plane.row(std::clamp(y, 0, plane.height - 1));
    const float before = (border == Border::Zero ? 0 : row.front()) - kMiddle;
    const float after = (border == Border::Zero ? 0 : row.back()) - kMiddle;
    std::fill_n(into.begin(), kReach, before);
    for (std::size_t x = 0; x < row.size(); ++x) into[x + kReach] = row[x] - kMiddle;
    std::fill_n(into.end() - kReach, kReach, after);
}

// Bicubic over eight pixels (a = -0.5, stretched by two), from 2 i - 3 to 2 i + 4.
constexpr std::array<float, 8> kHalfTaps{-3.0F / 256,  -9.0F / 256, 29.0F / 256, 111.0F / 256,
                                         111.0F / 256, 29.0F / 256, -9.0F / 256, -3.0F / 256};

int mirrored(int i, int size) {
    while (i < 0 || i >= size) i = i < 0 ? -1 - i : 2 * size - 1 - i;
    return i;
}

}  // namespace

Mscn take_mscn(const Plane& whole_luma, Border border) {
    const HalfKernel<kWindow> kernel = gaussian<kWindow>(kSigma);
    const int width = whole_luma.width;
    Mscn out{Plane(width, whole_luma.height), Plane(width, whole_luma.height)};
    std::vector<float> line(width + 2 * kReach);
    RowRing<kWindow, 2> ring(width);
    std::vector<float> means(width);
    std::vector<float> squares(width);
    for (int i = 0; i < whole_luma.height + 2 * kReach; ++i) {
        take_line(whole_luma, i - kReach, border, line);
        filter_row<kWindow>(kernel, line.data(), ring.row(i, 0));
        for (float& value : line) value *= value;
        filter_row<kWindow>(kernel, line.data(), ring.row(i, 1));
        const int y = i - 2 * kReach;
        if (y < 0) continue;
        ring.filter_column(kernel, y, 0, means);
        ring.filter_column(kernel, y, 1, squares);
        const float* const from = whole_luma.row(y).data();
        float* const coefficients = out.coefficients.row(y).data();
        float* const deviations = out.deviations.row(y).data();
        for (std::size_t x = 0; x < means.size(); ++x) {
            const float deviation = std::sqrt(std::abs(squares[x] - means[x] * means[x]));
            deviations[x] = deviation;
            coefficients[x] = (from[x] - kMiddle - means[x]) / (deviation + 1);
        }
    }
    return out;
}

Plane bicubic_half(const Plane& plane) {
    Plane half((plane.width + 1) / 2, (plane.height + 1) / 2);
    if (plane.count() == 0) return half;
    std::vector<float> line(plane.width + 8);
    for (int y = 0; y < half.height; ++y) {
        std::array<const float*, 8> rows{};
        for (int i = 0; i < 8; ++i)
            rows.at(i) = plane.row(mirrored(2 * y - 3 + i, plane.height)).data();
        for (int x = 0; x < plane.width; ++x) {
            float sum = 0;
            for (int i = 0; i < 8; ++i) sum += kHalfTaps[i] * rows[i][x];
            line[x + 3] = sum;
        }
        for (int i = 0; i < 3; ++i) line[i] = line[3 + mirrored(i - 3, plane.width)];
        for (int i = 0; i < 5; ++i)
            line[plane.width + 3 + i] = line[3 + mirrored(plane.width + i, plane.width)];
        const std::span<float> into = half.row(y);
        for (std::size_t x = 0; x < into.size(); ++x) {
            float sum = 0;
            for (std::size_t i = 0; i < 8; ++i) sum += kHalfTaps[i] * line[2 * x + i];
            into[x] = sum;
        }
    }
    return half;
}

void add_values(std::span<const float> values, Moments& moments) {
#pragma clang fp reassociate(on)
    float magnitudes = 0;
    float negative_squares = 0;
    float positive_squares = 0;
    int negatives = 0;
    int positives = 0;
    for (const float value : values) {
        const float below = std::min(value, 0.0F);
        const float above = std::max(value, 0.0F);
        magnitudes += above - below;
        negative_squares += below * below;
        positive_squares += above * above;
        negatives += value < 0 ? 1 : 0;
        positives += value > 0 ? 1 : 0;
    }
    moments.count += static_cast<double>(values.size());
    moments.magnitudes += static_cast<double>(magnitudes);
    moments.negative_squares += static_cast<double>(negative_squares);
    moments.positive_squares += static_cast<double>(positive_squares);
    moments.negative_count += negatives;
    moments.positive_count += positives;
}

void add_products(std::span<const float> a, std::span<const float> b, Moments& moments) {
    // Through a piece of a row that stays in the cache; add_values then has one loop to be fast in.
    std::array<float, 256> products;
    for (std::size_t from = 0; from < a.size(); from += products.size()) {
        const std::size_t count = std::min(products.size(), a.size() - from);
        for (std::size_t i = 0; i < count; ++i) products[i] = a[from + i] * b[from + i];
        add_values(std::span(products).first(count), moments);
    }
}

std::optional<GeneralGaussian> fit_symmetric(const Moments& moments) {
    const double squares = moments.negative_squares + moments.positive_squares;
    if (moments.count == 0 || squares <= 0) return std::nullopt;
    const double mean = moments.magnitudes / moments.count;
    const double variance = squares / moments.count;
    return GeneralGaussian{.alpha = alpha_of(mean * mean / variance), .variance = variance};
}

std::optional<AsymmetricGaussian> fit_asymmetric(const Moments& moments) {
    if (moments.negative_squares <= 0 || moments.positive_squares <= 0) return std::nullopt;
    AsymmetricGaussian fit;
    fit.left = std::sqrt(moments.negative_squares / moments.negative_count);
    fit.right = std::sqrt(moments.positive_squares / moments.positive_count);
    const double mean = moments.magnitudes / moments.count;
    const double variance = (moments.negative_squares + moments.positive_squares) / moments.count;
    const double skew = fit.left / fit.right;
    const double symmetric = skew * skew + 1;
    const double ratio =
        mean * mean / variance * (skew * skew * skew + 1) * (skew + 1) / (symmetric * symmetric);
    fit.alpha = alpha_of(ratio);
    return fit;
}

double AsymmetricGaussian::beta(double deviation) const {
    return deviation * std::sqrt(std::exp(std::lgamma(1 / alpha) - std::lgamma(3 / alpha)));
}

}  // namespace plimsoll::quality
