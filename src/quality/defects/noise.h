// SPDX-License-Identifier: Apache-2.0
//
// Noise where a picture is smooth: what too few steps leave behind. Texture is not taken for it,
// because only the smoothest tenth of the picture speaks.
#pragma once
#include "quality/image.h"

#include <optional>

namespace plimsoll::quality {

// Standard deviation in levels of 255 of what Immerkaer's kernel (1996) finds, in blocks of 16 x 16
// without clipped pixels: the 10th percentile. A block without noise reads as what its texture
// leaves; the value follows noise of 2 levels and more. None when under 10 blocks speak.
[[nodiscard]] std::optional<double> flat_noise(const Plane& whole_luma);
inline constexpr int kFlatBlocksLeast = 10;

}  // namespace plimsoll::quality
