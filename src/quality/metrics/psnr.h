// SPDX-License-Identifier: Apache-2.0
//
// Peak signal-to-noise ratio over all three channels: 10 log10(255^2 / mean squared difference).
#pragma once
#include "quality/image.h"
#include "quality/pyramid.h"

namespace plimsoll::quality {

// In dB, +infinity for equal pictures. Both have one size, at least 1 x 1.
[[nodiscard]] double psnr(const Image& a, const Image& b);
[[nodiscard]] double psnr(const Colours& a, const Colours& b);

}  // namespace plimsoll::quality
