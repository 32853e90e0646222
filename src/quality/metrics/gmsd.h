// SPDX-License-Identifier: Apache-2.0
//
// Gradient magnitude similarity deviation (Xue, Zhang, Mou, Bovik 2014): how unevenly the strength
// of edges differs over the picture.
#pragma once
#include "quality/image.h"

namespace plimsoll::quality {

inline constexpr int kGmsdSideLeast = 4;

// The lumas after the mean of 2 x 2 with which the metric begins; 0 for equal ones.
[[nodiscard]] double gmsd(const Plane& half_a, const Plane& half_b);

}  // namespace plimsoll::quality
