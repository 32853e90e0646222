// SPDX-License-Identifier: Apache-2.0
#include "quality/defects/burn.h"

#include "base/check.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::quality {

namespace {

// What is looked at, and a difference that nobody sees: it is added to the spread, so that
// baselines that happen to agree do not make a trifle count (chosen; the reference's own steps of
// burn are 28 points of clipping, .22, 23 and .05).
struct Sign {
    Measure measure;
    double trifle;
};
constexpr std::array<Sign, 4> kSigns{{{Measure::ClippedShare, 0.01},
                                      {Measure::SaturatedShare, 0.01},
                                      {Measure::Chroma95, 1},
                                      {Measure::Contrast, 0.005}}};

double median_of(std::vector<double>& values) {
    const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
    std::ranges::nth_element(values, middle);
    if (values.size() % 2 == 1) return *middle;
    return (*middle + *std::max_element(values.begin(), middle)) / 2;
}

std::unexpected<Error> without(Measure measure, std::string_view whose) {
    return fail(Errc::InvalidInput, fmt::format("{} has no {}", whose, facts_of(measure).name));
}

}  // namespace

RobustSpread robust_spread(std::vector<double> values) {
    CHECK(!values.empty());
    RobustSpread spread{.median = median_of(values), .deviation = 0};
    for (double& value : values) value = std::abs(value - spread.median);
    spread.deviation = 1.4826 * median_of(values);
    return spread;
}

Result<double> burn_index(const Scores& candidate, std::span<const Scores> baselines) {
    if (baselines.size() < kBurnBaselinesLeast)
        return fail(Errc::InvalidInput,
                    fmt::format("burn needs {} pictures to hold it against, there are {}",
                                kBurnBaselinesLeast, baselines.size()));
    double sum = 0;
    for (const Sign& sign : kSigns) {
        const std::optional<double> value = candidate.value(sign.measure);
        if (!value) return without(sign.measure, "the picture");
        std::vector<double> values;
        for (const Scores& baseline : baselines) {
            const std::optional<double> one = baseline.value(sign.measure);
            if (!one) return without(sign.measure, "a picture that it is held against");
            values.push_back(*one);
        }
        const RobustSpread spread = robust_spread(std::move(values));
        sum += std::max(0.0, (*value - spread.median) / (spread.deviation + sign.trifle));
    }
    return sum / kSigns.size();
}

}  // namespace plimsoll::quality
