// SPDX-License-Identifier: Apache-2.0
//
// How far a picture is burnt, held against pictures of its prompt at a guidance that does not burn:
// the mean over clipped pixels, saturated pixels, strong chroma and contrast of how many robust
// deviations each lies above them. Styles differ, so there is no such number without them.
#pragma once
#include "base/error.h"
#include "quality/scores.h"

#include <span>

namespace plimsoll::quality {

inline constexpr std::size_t kBurnBaselinesLeast = 3;  // chosen: a median and a spread need them

// 0: not burnt; 1: a typical spread above the baselines. InvalidInput with under three baselines,
// or when a score is missing.
[[nodiscard]] Result<double> burn_index(const Scores& candidate, std::span<const Scores> baselines);

// The median, and 1.4826 times the median distance from it (which is a normal distribution's
// deviation).
struct RobustSpread {
    double median = 0;
    double deviation = 0;
};
[[nodiscard]] RobustSpread robust_spread(std::vector<double> values);

}  // namespace plimsoll::quality
