// SPDX-License-Identifier: Apache-2.0
//
// How much a voter minds what the lab measures: whether he sees the points that it takes off. Blind
// votes tell it, since nobody who votes is shown what a setting costs. Pure.
//
// P(the one of `points` more is preferred) = 1 / (1 + exp(-weight * kLogitsOfPoint * points)). At
// weight 1 three points are 55 to 45, which the lab calls "not worse"; a voter who always sees them
// has a high weight, one who never sees ten a low one.
#pragma once
#include "quality/lab/estimate.h"
#include "quality/votes/bradley_terry.h"

#include <cstddef>
#include <span>

namespace plimsoll::quality {

inline constexpr double kLogitsOfPoint = 0.0669;  // ln(55 / 45) / 3

struct PricedVote {
    double points = 0;  // the first's quality less the second's, by the lab
    Preferred preferred = Preferred::Neither;
};

struct Minded {
    double weight = 1;
    Interval interval{.low = 1, .high = 1};  // 95 %
    std::size_t votes = 0;                   // about pairs that differ enough to say something
    [[nodiscard]] bool enough() const { return votes >= kVotesMin; }
};
inline constexpr double kTellingPoints = 0.5;  // chosen: below it nobody could tell

// The posterior's median. The prior is log-normal around 1 with a spread of 0.7: 95 % of people are
// taken to lie between a quarter and four times (chosen). With fewer than kVotesMin votes the
// weight stays 1.
[[nodiscard]] Minded how_much_is_minded(std::span<const PricedVote> votes);

}  // namespace plimsoll::quality
