// SPDX-License-Identifier: Apache-2.0
//
// How much better or worse one setting is than another, from differences on shared blocks, and how
// sure that is. Pure: the bootstrap's draws follow from a seed.
#pragma once
#include "quality/lab/table.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string>

namespace plimsoll::quality {

// Below six pairs no test of ranks can reach 5 % (n = 5: p >= 0.0625), so nothing is claimed.
inline constexpr std::size_t kPairsMin = 6;
inline constexpr int kBootstrapDraws = 2000;  // as usual for 95 % intervals

struct Interval {
    double low = 0;
    double high = 0;
};

struct Estimate {
    std::size_t pairs = 0;
    std::size_t clusters = 0;  // prompts; with a single prompt its seeds
    double points = 0;         // mean difference, each prompt counting the same
    double standard_error = 0;
    Interval interval;       // 95 %, two-sided
    double lower_bound = 0;  // 95 %, one-sided
    // Probability of a mean this high if the truth lay at -margin: small speaks for "not worse".
    [[nodiscard]] double p_not_worse(double margin) const;
};
// "-4.0 (-4.2 to -3.8)": points with their interval; what rounds to nothing is "0.0".
[[nodiscard]] std::string points_text(const Estimate& estimate);

// Bootstrap over whole prompts, so that what one prompt's pictures share is not counted as often as
// there are seeds; drawing seeds within each again would count their scatter twice (measured: 98 %
// of its 95 % intervals held the truth). Quantiles of so few clusters are too narrow; they are
// stretched from the normal's to Student's with clusters - 1 degrees of freedom, and by the bias of
// the bootstrap's variance. Needs 2 pairs; fewer give infinite bounds.
[[nodiscard]] Estimate estimate_difference(std::span<const Difference> differences,
                                           std::uint64_t seed);

// The same at a glance, without draws, for the race: where there are few pairs the scatter is
// shrunk towards `usual_scatter` (SD of a difference between two settings, over blocks), which is
// worth kScatterWeight pairs.
inline constexpr double kScatterWeight = 4;  // chosen
[[nodiscard]] Estimate glance_at_difference(std::span<const Difference> differences,
                                            double usual_scatter);
[[nodiscard]] double scatter_of(std::span<const Difference> differences);

}  // namespace plimsoll::quality
