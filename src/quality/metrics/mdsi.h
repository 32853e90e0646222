// SPDX-License-Identifier: Apache-2.0
//
// Mean deviation similarity index (Nafchi, Shahkolaei, Hedjam, Cheriet 2016): how unevenly edges
// and colours differ over the picture, seen at about 256 pixels of the shorter side.
#pragma once
#include "quality/pyramid.h"

namespace plimsoll::quality {

inline constexpr int kMdsiSideLeast = 3;

// The side of the means that the metric begins with. Of its three scales, half and quarter halve
// what this left: halving the picture first would end at the same 256 pixels again.
[[nodiscard]] int mdsi_pool_side(int width, int height);

// 0 for equal pictures (rounding leaves some 0.01), larger is worse.
[[nodiscard]] double mdsi(const Colours& reference, const Colours& candidate);

}  // namespace plimsoll::quality
