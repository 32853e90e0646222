// SPDX-License-Identifier: Apache-2.0
//
// What sessions found out about settings of a model, for those who ask later: the advisor's best
// settings, the score of a summary.
//
// Enters through: Store.   Leaves through: Finding values.   Threads: as the Store.
#pragma once
#include "advisor/evidence.h"
#include "advisor/settings.h"
#include "base/error.h"
#include "history/store.h"
#include "quality/lab/session.h"

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

struct MeasuredQuality {
    quality::Setting setting;
    double quality = 0;  // 0 to 100: the reference's less what the setting is below it
    quality::Interval interval;
    std::size_t pairs = 0;
    double seconds = 0;  // of a picture
    std::int64_t peak_bytes = 0;
    bool is_chosen = false;
    bool closely = false;  // pixels were compared; else only defects were looked for
};
// As the advisor has them; `model` is a checkpoint or a profile's name.
[[nodiscard]] advisor::Settings settings_of(const quality::Setting& setting, std::string model);
// Whether they draw alike, whatever the model.
[[nodiscard]] bool draws_as(const quality::Setting& setting, const advisor::Settings& settings);
// Another precision is another file and another picture: it is not what a profile's settings mean.
// Folders do not count.
[[nodiscard]] bool is_of_profile(const quality::Setting& setting,
                                 const advisor::ModelProfile& profile);

// Of the settings that were seen often enough to say anything.
[[nodiscard]] std::vector<MeasuredQuality> findings_of(const quality::Session& session);
// With the session's own answer and costs, which take long to find out, at hand.
[[nodiscard]] std::vector<MeasuredQuality> findings_of(const quality::SessionPlan& plan,
                                                       const quality::Answer& answer,
                                                       const std::vector<quality::Cost>& costs);
[[nodiscard]] std::string encode_findings(const std::vector<MeasuredQuality>& findings);
[[nodiscard]] Result<std::vector<MeasuredQuality>> parse_findings(std::string_view text);

// For the advisor's prices, from all sessions whose settings draw with `checkpoint` (its file;
// folders do not count). Only what was compared closely: that a picture has no defects does not say
// that nobody minds. `voter`: whose votes weigh; empty: everybody's.
[[nodiscard]] Result<advisor::QualityEvidence> quality_evidence(history::Store& store,
                                                                std::string_view checkpoint,
                                                                std::string_view voter);

// Of the model's sessions, the newest first; a setting is in it once. What cannot be read is left
// out.
[[nodiscard]] Result<std::vector<MeasuredQuality>> measured_of(history::Store& store,
                                                               std::string_view model);

}  // namespace plimsoll::service
