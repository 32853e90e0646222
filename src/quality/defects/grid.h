// SPDX-License-Identifier: Apache-2.0
//
// Steps that come back at a fixed distance: the decoder's latent cells (8 pixels of the Stable
// Diffusion and FLUX VAEs, 16 of transformers that take 2 x 2 cells), or the seams of a tiled VAE.
#pragma once
#include "quality/image.h"

#include <optional>

namespace plimsoll::quality {

// The mean step between neighbours at the strongest of `period` phases, by the median phase's; the
// larger of across and down. Near 1: none. None when a side has under two periods, or a picture no
// steps at all.
[[nodiscard]] std::optional<double> grid_ratio(const Plane& whole_luma, int period);

}  // namespace plimsoll::quality
