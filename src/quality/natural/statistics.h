// SPDX-License-Identifier: Apache-2.0
//
// The statistics of natural scenes that NIQE and BRISQUE share: brightness less its local mean by
// its local deviation (MSCN), and the generalised Gaussians that fit those values and the products
// of neighbours.
#pragma once
#include "quality/image.h"

#include <cstdint>
#include <optional>
#include <span>

namespace plimsoll::quality {

// What lies around the picture for the local window: BRISQUE takes zeros, NIQE the nearest pixel.
enum class Border : std::uint8_t { Zero, Nearest };

struct Mscn {
    Plane coefficients;  // (I - mean) / (deviation + 1)
    Plane deviations;    // local, in levels
};
// A Gaussian window of 7 x 7, sigma 7/6.
[[nodiscard]] Mscn take_mscn(const Plane& whole_luma, Border border);

// Half the size as MATLAB's imresize(I, 0.5) has it: bicubic over eight pixels, mirrored at the
// border; odd sizes are rounded up.
[[nodiscard]] Plane bicubic_half(const Plane& plane);

// Sums over values that lie about zero.
struct Moments {
    double count = 0;
    double magnitudes = 0;
    double negative_count = 0;
    double negative_squares = 0;
    double positive_count = 0;
    double positive_squares = 0;
};
void add_values(std::span<const float> values, Moments& moments);
void add_products(std::span<const float> a, std::span<const float> b, Moments& moments);

// alpha is the shape (2: a Gaussian), from 0.2 to 10 in steps of 0.001 as in the papers' code.
struct GeneralGaussian {
    double alpha = 0;
    double variance = 0;
};
[[nodiscard]] std::optional<GeneralGaussian> fit_symmetric(const Moments& moments);

struct AsymmetricGaussian {
    double alpha = 0;
    double left = 0;   // deviation of the negative side
    double right = 0;  // and of the positive one

    [[nodiscard]] double beta(double deviation) const;  // the scale that belongs to a deviation
};
// None when one side is empty, as on a picture of one level.
[[nodiscard]] std::optional<AsymmetricGaussian> fit_asymmetric(const Moments& moments);

}  // namespace plimsoll::quality
