// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/marks.h"

#include "base/say.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <utility>
#include <vector>

namespace plimsoll::quality {
namespace {

// A measure as defects use it. `least` is the smallest spread that counts as one: two references
// may agree by chance. Chosen, from the responses to synthetic degradations: flat-block noise rises
// by 0.35 levels for noise of 1 level, the grid ratio by 0.02 for a checker of +-1, clipping and
// saturation by several per cent for a moderate burn. NIQE and BRISQUE are weak signs, whose size
// means little once a picture is unlike the others: a distance that is 1.65 times as far is one
// spread (so four times as far costs a third), and ten points of BRISQUE's hundred.
struct Sign {
    std::string_view defect;
    Measure measure;
    double bad;  // +1: more is worse
    bool as_logarithm;
    double least;
};
constexpr std::array<Sign, 11> kSigns{{
    {"noise", Measure::FlatNoise, 1, false, 0.15},
    {"blur", Measure::Sharpness, -1, true, 0.15},
    {"grid", Measure::LatentGrid8, 1, false, 0.02},
    {"grid", Measure::LatentGrid16, 1, false, 0.02},
    {"seams", Measure::TilingSeams, 1, false, 0.02},
    {"burn", Measure::ClippedShare, 1, false, 0.01},
    {"burn", Measure::SaturatedShare, 1, false, 0.01},
    {"burn", Measure::Chroma95, 1, false, 2.0},
    {"burn", Measure::Contrast, 1, false, 0.01},
    // Statistics unlike the run's own references' (NIQE), or unlike photographs' (BRISQUE).
    {"statistics", Measure::Niqe, 1, true, 0.5},
    {"statistics", Measure::Brisque, 1, false, 10.0},
}};
constexpr double kTolerated = 1;  // spreads that pass without a penalty
constexpr double kSteepness = 3;  // spreads beyond it that cost a factor e
// Statistics say that a picture is unlike the others, and how far means little: they cost a third
// at most (chosen).
constexpr double kStatisticsMost = 3;

double value_of(const Sign& sign, double measured) {
    return sign.as_logarithm ? std::log(std::max(measured, 1e-9)) : measured;
}

std::optional<double> middle_of(std::vector<double> values) {
    if (values.empty()) return std::nullopt;
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    return *middle;
}

// Spreads by which the picture is worse than its reference, where both were measured.
std::optional<double> badness_of(const Sign& sign, const Seen& seen, const Seen& reference,
                                 const Calibration& calibration) {
    const auto own = seen.measures.find(sign.measure);
    const auto other = reference.measures.find(sign.measure);
    if (own == seen.measures.end() || other == reference.measures.end()) return std::nullopt;
    const auto spread = calibration.spread.find(sign.measure);
    const double scale =
        std::max(sign.least, spread == calibration.spread.end() ? 0 : spread->second);
    return sign.bad * (value_of(sign, own->second) - value_of(sign, other->second)) / scale;
}

}  // namespace

Seen seen_of(const Comparison& comparison, bool valid, const Phrase& why_not) {
    Seen seen;
    for (const Sign& sign : kSigns)
        if (const auto value = comparison.candidate.value(sign.measure))
            seen.measures.emplace(sign.measure, *value);
    if (!valid) {
        seen.why_no_distance = why_not;
        return seen;
    }
    if (comparison.likeness == Likeness::OtherPicture) {
        seen.why_no_distance = say<"lab.other_picture">();
        return seen;
    }
    if (const auto likeness = comparison.pair.mean_over_scales(Measure::HaarPsi)) {
        seen.distance = 1 - *likeness;
        return seen;
    }
    const Score* const score = comparison.pair.find(Measure::HaarPsi);
    seen.why_no_distance = score == nullptr ? say<"lab.not_measured">() : Phrase(score->reason);
    return seen;
}

Calibration calibrate(std::span<const Seen> references, std::span<const Seen> second) {
    Calibration out;
    std::vector<double> floors;
    for (const Seen& seen : second)
        if (seen.distance) floors.push_back(*seen.distance);
    std::vector<double> ceilings;
    for (const Seen& seen : references)
        if (seen.distance_to_other) ceilings.push_back(*seen.distance_to_other);
    out.floor = middle_of(std::move(floors)).value_or(0);
    out.ceiling = middle_of(std::move(ceilings)).value_or(1);
    // Two solvers further apart than two seeds: the scale would stand on its head.
    if (out.ceiling <= out.floor) out.floor = 0;
    for (const Sign& sign : kSigns) {
        std::vector<double> values;
        for (const Seen& seen : references)
            if (const auto found = seen.measures.find(sign.measure); found != seen.measures.end())
                values.push_back(value_of(sign, found->second));
        const auto middle = middle_of(values);
        if (!middle) continue;
        for (double& value : values) value = std::abs(value - *middle);
        out.spread[sign.measure] = 1.4826 * middle_of(std::move(values)).value_or(0);
    }
    return out;
}

Marks marks_of(const Seen& seen, const Seen& reference, const Calibration& calibration) {
    Marks marks;
    if (seen.distance) {
        const double room = std::max(calibration.ceiling - calibration.floor, 1e-9);
        marks.retention = 100 * std::clamp((calibration.ceiling - *seen.distance) / room, 0.0, 1.0);
    }
    std::map<std::string_view, std::vector<double>> by_defect;
    for (const Sign& sign : kSigns)
        if (const auto badness = badness_of(sign, seen, reference, calibration))
            by_defect[sign.defect].push_back(std::max(0.0, *badness));
    double worst = 1;
    double product = 1;
    for (const auto& [defect, spreads] : by_defect) {
        double sum = 0;
        for (const double z : spreads) sum += z;
        // Burn is the mean of its signs; two grids are two chances to be the one that shows.
        const double z = defect == "burn" ? sum / static_cast<double>(spreads.size())
                                          : std::ranges::max(spreads);
        const double counted = defect == "statistics" ? std::min(z, kStatisticsMost) : z;
        const double over = std::max(0.0, counted - kTolerated) / kSteepness;
        const double kept = std::exp(-over * over);
        product *= kept;
        if (kept < worst) {
            worst = kept;
            marks.worst_defect = defect;
        }
    }
    marks.defects = 100 * product;
    return marks;
}

}  // namespace plimsoll::quality
