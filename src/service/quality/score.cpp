// SPDX-License-Identifier: Apache-2.0
#include "service/quality/score.h"

#include "base/say.h"

#include <string>
#include <vector>

namespace plimsoll::service {

std::string_view score_basis_name(ScoreBasis basis) {
    return basis == ScoreBasis::Measured ? "measured" : "estimate";
}

QualityScore score_of(const advisor::Settings& settings, const advisor::ModelProfile& profile,
                      std::span<const MeasuredQuality> measured) {
    QualityScore out;
    out.settings_known = measured.size();
    for (const MeasuredQuality& one : measured) {
        if (!is_of_profile(one.setting, profile) || !draws_as(one.setting, settings)) continue;
        out.basis = ScoreBasis::Measured;
        out.points = one.quality;
        out.interval = one.interval;
        out.comparisons = one.pairs;
        out.words = say<"score.measured">(one.pairs);
        return out;
    }
    constexpr double kQuarter = 25;  // four qualities up to 100
    const auto promised = advisor::expected_quality(settings, profile);
    out.points = kQuarter * (static_cast<int>(promised) + 1);
    out.interval = {.low = out.points - kQuarter, .high = out.points};
    out.words = measured.empty() ? say<"score.no_test">() : say<"score.others">(measured.size());
    return out;
}

Result<QualityScore> read_score(history::Store& store, const advisor::Settings& settings,
                                std::span<const advisor::ModelProfile> profiles) {
    TRY_ASSIGN(const advisor::ModelProfile profile,
               advisor::find_profile(settings.model, profiles));
    TRY_ASSIGN(const std::vector<MeasuredQuality> measured, measured_of(store, profile.name));
    return score_of(settings, profile, measured);
}

}  // namespace plimsoll::service
