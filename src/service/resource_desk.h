// SPDX-License-Identifier: Apache-2.0
//
// ResourceDesk: the advisor's ResourceManager with everything behind it: model files on this
// machine, where jobs run, and what the history tells. For the C++ library and the daemon.
//
// Enters through: ModelLibrary, history.   Leaves through: advisor::ResourceManager.   Threads: as
// ModelLibrary; one desk may be used from one thread at a time.
#pragma once
#include "advisor/resource_manager.h"
#include "base/error.h"
#include "base/phrase.h"
#include "service/models.h"
#include "service/profiles.h"
#include "service/site.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

class ResourceDesk {
  public:
    using PastRuns = std::function<Result<std::vector<advisor::PastRun>>(std::string_view model)>;

    // All but `past_runs` must outlive the desk; it may be empty: then nothing is known.
    ResourceDesk(const Profiles& profiles, ModelLibrary& models, const Site& site,
                 const advisor::Budget& budget, PastRuns past_runs)
        : profiles_(profiles),
          models_(models),
          site_(site),
          budget_(budget),
          past_runs_(std::move(past_runs)) {}
    ResourceDesk(const ResourceDesk&) = delete;
    ResourceDesk& operator=(const ResourceDesk&) = delete;

    // Refers to the desk.
    [[nodiscard]] advisor::ResourceManager manager();
    // What was noticed about the checkpoint's file when it was forecast.
    [[nodiscard]] const Phrases& warnings_of(const std::string& checkpoint) {
        return warnings_[checkpoint];
    }
    // As the manager's, and an error of the history is an error of the answer.
    [[nodiscard]] Result<std::optional<advisor::Settings>> best_settings(std::string_view model,
                                                                         double min_quality);

  private:
    [[nodiscard]] Result<advisor::PricedForecast> forecast(const advisor::Scenario& scenario);

    const Profiles& profiles_;
    ModelLibrary& models_;
    const Site& site_;
    const advisor::Budget& budget_;
    PastRuns past_runs_;
    std::map<std::string, advisor::Forecaster> forecasters_;  // by checkpoint
    std::map<std::string, Phrases> warnings_;                 // by checkpoint
    std::optional<Error> history_error_;
};

}  // namespace plimsoll::service
