// SPDX-License-Identifier: Apache-2.0
//
// From what was measured of a picture to its marks: how much of the reference's picture it kept
// (retention) and what it has that the reference has not (defects). Both are scaled by the run's
// own reference pictures, never by absolute thresholds, which no style of art keeps. Pure.
#pragma once
#include "base/phrase.h"
#include "quality/lab/table.h"
#include "quality/scores.h"

#include <map>
#include <optional>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::quality {

// What is kept of looking at one picture.
struct Seen {
    // 1 - HaarPSI to the reference of the same block, mean of three scales; 0: the same pixels.
    std::optional<double> distance;
    Phrase why_no_distance;
    // Of a reference picture: to another picture of the reference setting, and so what "as
    // different as another seed" means.
    std::optional<double> distance_to_other;
    std::map<Measure, double> measures;           // Needs::Picture, those that have a value
    std::map<std::string, double> scores;         // by the names of the plan's scorers
    std::map<std::string, std::string> unscored;  // why a scorer gave none
    friend bool operator==(const Seen&, const Seen&) = default;
};
// `valid`: the settings solve for one picture (comparability.h); else `why_not` says why not. A
// pair that turns out to show different pictures has no distance either.
[[nodiscard]] Seen seen_of(const Comparison& comparison, bool valid, const Phrase& why_not);

struct Calibration {
    double floor = 0;    // distance between two solvers at full cost: what nobody can improve on
    double ceiling = 1;  // distance to another picture
    std::map<Measure, double> spread;  // 1.4826 MAD over the reference pictures
};
// `references`: pictures of the reference setting; `second`: of another solver at the same cost.
[[nodiscard]] Calibration calibrate(std::span<const Seen> references, std::span<const Seen> second);

// `reference` is the reference picture of the same block; `seen` may be that itself.
[[nodiscard]] Marks marks_of(const Seen& seen, const Seen& reference,
                             const Calibration& calibration);

}  // namespace plimsoll::quality
