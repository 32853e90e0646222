// SPDX-License-Identifier: Apache-2.0
//
// How good a picture some settings make: measured where a quality session compared them, else what
// their steps and size promise, and said which of the two it is.
//
// Enters through: Store, Settings.   Leaves through: QualityScore.   Threads: as the Store.
#pragma once
#include "advisor/settings.h"
#include "base/error.h"
#include "base/phrase.h"
#include "history/store.h"
#include "quality/lab/estimate.h"
#include "service/quality/findings.h"

#include <cstddef>
#include <cstdint>
#include <span>
#include <string_view>

namespace plimsoll::service {

enum class ScoreBasis : std::uint8_t { Measured, Estimate };
[[nodiscard]] std::string_view score_basis_name(ScoreBasis basis);  // "measured", "estimate"

struct QualityScore {
    ScoreBasis basis = ScoreBasis::Estimate;
    double points = 0;  // 0 to 100
    // Measured: 95 %. Estimate: the quarter of the scale that the settings promise (draft,
    // optimized, high, ultra), as the best settings count them: an order, not a measurement.
    quality::Interval interval;
    std::size_t comparisons = 0;     // pairs of pictures behind a measured one
    std::size_t settings_known = 0;  // of this model, measured
    Phrase words;                    // where the number comes from
};

[[nodiscard]] QualityScore score_of(const advisor::Settings& settings,
                                    const advisor::ModelProfile& profile,
                                    std::span<const MeasuredQuality> measured);
// NotFound for a model that has no profile.
[[nodiscard]] Result<QualityScore> read_score(history::Store& store,
                                              const advisor::Settings& settings,
                                              std::span<const advisor::ModelProfile> profiles);

}  // namespace plimsoll::service
