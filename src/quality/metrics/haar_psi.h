// SPDX-License-Identifier: Apache-2.0
//
// Haar wavelet-based perceptual similarity index (Reisenhofer, Bosse, Kutyniok, Wiegand 2018): the
// fine wavelets say how alike two places are, the coarse ones how much the eye minds.
#pragma once
#include "quality/pyramid.h"

namespace plimsoll::quality {

inline constexpr int kHaarPsiSideLeast = 16;  // the coarse wavelet, 8 pixels, at half the size

// The colours after the mean of 2 x 2 with which the metric begins. 1 for equal pictures, towards 0
// the more they differ.
[[nodiscard]] double haar_psi(const Colours& half_a, const Colours& half_b);

// How unlike each place is, 0 to 1, weighted by how much the eye minds it there: where HaarPSI
// loses what it loses.
[[nodiscard]] Plane haar_psi_loss(const Colours& half_a, const Colours& half_b);

}  // namespace plimsoll::quality
