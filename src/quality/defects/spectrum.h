// SPDX-License-Identifier: Apache-2.0
//
// How power falls with frequency: natural pictures by about its square. Noise flattens the end of
// the curve, smearing cuts it off.
#pragma once
#include "quality/image.h"

#include <optional>

namespace plimsoll::quality {

struct Spectrum {
    double slope = 0;       // of log power over log frequency, 0.05 to 0.45 cycles a pixel
    double tail_slope = 0;  // the same above 0.35
    double high_share = 0;  // of the power above 0.25 cycles a pixel, without the mean's
};
inline constexpr int kSpectrumSideLeast = 64;

// The mean over blocks (256 x 256, or 128 or 64 in a smaller picture) under Hann's window. None of
// a picture without any variation; its sides are at least kSpectrumSideLeast.
[[nodiscard]] std::optional<Spectrum> measure_spectrum(const Plane& whole_luma);

}  // namespace plimsoll::quality
