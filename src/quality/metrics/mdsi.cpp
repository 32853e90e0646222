// SPDX-License-Identifier: Apache-2.0
#include "quality/metrics/mdsi.h"

#include "base/check.h"
#include "quality/metrics/prewitt.h"

#include <algorithm>
#include <cmath>
#include <complex>
#include <cstddef>

namespace plimsoll::quality {

namespace {

// From the paper: C1, C2, C3 and the weight of the gradients.
constexpr float kC1 = 140;
constexpr float kC2 = 55;
constexpr float kC3 = 550;
constexpr float kGradients = 0.6F;

// Luma and the two channels of colour, also from the paper.
struct Opponents {
    Plane luma;
    Plane h;
    Plane m;
};

Opponents opponents_of(const Colours& colours) {
    Opponents out{Plane(colours.width(), colours.height()),
                  Plane(colours.width(), colours.height()),
                  Plane(colours.width(), colours.height())};
    const std::vector<float>& red = colours.planes[0].values;
    const std::vector<float>& green = colours.planes[1].values;
    const std::vector<float>& blue = colours.planes[2].values;
    for (std::size_t i = 0; i < red.size(); ++i) {
        out.luma.values[i] = 0.2989F * red[i] + 0.587F * green[i] + 0.114F * blue[i];
        out.h.values[i] = 0.30F * red[i] + 0.04F * green[i] - 0.35F * blue[i];
        out.m.values[i] = 0.34F * red[i] - 0.6F * green[i] + 0.17F * blue[i];
    }
    return out;
}

// (2 sqrt(a b) + c) / (a + b + c) of two squared magnitudes.
inline float similarity(float a, float b, float c) {
    return (2 * std::sqrt(a * b) + c) / (a + b + c);
}

// The similarity of the gradients, made higher where the candidate has edges that the reference
// lacks and lower where it lost some: the mean picture's gradient stands closer to the one with the
// edge.
void gradient_similarity(const GradientRow& reference, const GradientRow& candidate,
                         std::span<float> into) {
    for (std::size_t x = 0; x < into.size(); ++x) {
        const float ax = reference.across[x];
        const float ay = reference.down[x];
        const float bx = candidate.across[x];
        const float by = candidate.down[x];
        const float a = ax * ax + ay * ay;
        const float b = bx * bx + by * by;
        const float mean = 0.25F * ((ax + bx) * (ax + bx) + (ay + by) * (ay + by));
        into[x] = similarity(a, b, kC1) + similarity(b, mean, kC2) - similarity(a, mean, kC2);
    }
}

void add_colour_similarity(const Opponents& a, const Opponents& b, int y, std::span<float> into) {
    const float* const ha = a.h.row(y).data();
    const float* const hb = b.h.row(y).data();
    const float* const ma = a.m.row(y).data();
    const float* const mb = b.m.row(y).data();
    for (std::size_t x = 0; x < into.size(); ++x) {
        const float alike = (2 * (ha[x] * hb[x] + ma[x] * mb[x]) + kC3) /
                            (ha[x] * ha[x] + hb[x] * hb[x] + ma[x] * ma[x] + mb[x] * mb[x] + kC3);
        into[x] = kGradients * into[x] + (1 - kGradients) * alike;
    }
}

// mean |z - mean z| to the 1/4, where z is the complex fourth root of each similarity: those of
// negative ones lie on the diagonal.
double deviation(const std::vector<float>& similarities) {
    std::vector<float> roots(similarities.size());
    for (std::size_t i = 0; i < roots.size(); ++i)
        roots[i] = std::sqrt(std::sqrt(std::abs(similarities[i])));
    const double diagonal = std::sqrt(0.5);
    std::complex<double> mean;
    for (std::size_t i = 0; i < roots.size(); ++i) {
        const auto root = static_cast<double>(roots[i]);
        mean += similarities[i] < 0 ? std::complex(root * diagonal, root * diagonal)
                                    : std::complex(root, 0.0);
    }
    mean /= static_cast<double>(roots.size());
    double sum = 0;
    for (std::size_t i = 0; i < roots.size(); ++i) {
        const auto root = static_cast<double>(roots[i]);
        const bool below = similarities[i] < 0;
        const double real = (below ? root * diagonal : root) - mean.real();
        const double imaginary = (below ? root * diagonal : 0) - mean.imag();
        sum += std::sqrt(real * real + imaginary * imaginary);
    }
    return std::sqrt(std::sqrt(sum / static_cast<double>(roots.size())));
}

}  // namespace

int mdsi_pool_side(int width, int height) {
    return std::clamp(static_cast<int>(std::lround(std::min(width, height) / 256.0)), 1, 256);
}

double mdsi(const Colours& reference, const Colours& candidate) {
    CHECK(reference.width() == candidate.width() && reference.height() == candidate.height());
    CHECK(reference.planes[0].count() > 0);
    const Opponents a = opponents_of(reference);
    const Opponents b = opponents_of(candidate);
    GradientRow gradients_a(reference.width());
    GradientRow gradients_b(reference.width());
    Plane similarities(reference.width(), reference.height());
    for (int y = 0; y < similarities.height; ++y) {
        take_gradients(a.luma, y, gradients_a);
        take_gradients(b.luma, y, gradients_b);
        gradient_similarity(gradients_a, gradients_b, similarities.row(y));
        add_colour_similarity(a, b, y, similarities.row(y));
    }
    return deviation(similarities.values);
}

}  // namespace plimsoll::quality
