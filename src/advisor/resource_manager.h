// SPDX-License-Identifier: Apache-2.0
//
// ResourceManager: the four questions about generated pictures that users know by name. It holds no
// state of its own but the parts handed in; every answer is computed from a forecast.
//
// Enters through: Forecaster, HistoryView.   Leaves through: Settings, Safety, Summary.   Threads:
// as its parts allow.
#pragma once
#include "advisor/forecaster.h"
#include "advisor/plan.h"
#include "advisor/settings.h"
#include "base/phrase.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::advisor {

// One earlier run as get_best_settings needs it. The service reads these from the history.
struct PastRun {
    Settings settings;
    double quality = 0;  // 0..1: measured or voted
    double seconds = 0;  // observed
    Bytes peak;          // observed
    bool completed = false;
};
using HistoryView = std::function<std::vector<PastRun>(std::string_view model)>;

struct Safety {
    bool safe = false;
    Standing standing = Standing::Unknown;
    Phrases reasons;  // why not; or what to know although it is safe
};

struct Summary {
    Bytes vram;   // highest peak of the phases
    Bytes floor;  // of it, what cannot be paged
    Bytes load_line;
    double seconds = 0;
    Quality quality = Quality::Draft;  // what the settings promise: an ordinal
    PricedForecast forecast;           // with its phases
    Judgement judged;
    bool from_prior =
        false;  // the file was never seen: starting values of the profile, no forecast
    Phrases warnings;
};

struct Optimal {
    Settings settings;
    Phrases notes;  // what differs from the wish, and why
};

class ResourceManager {
  public:
    struct Parts {
        Forecaster forecaster;
        Budget budget;
        std::vector<ModelProfile> profiles;  // empty: the built-in ones
        HistoryView history;                 // may be empty
    };
    explicit ResourceManager(Parts parts);

    // Settings for a wish: the quality's steps, the model's best CFG and sampler, tiled decode only
    // where it is needed. Where the wish does not fit, steps give way to the time limit and the
    // size to the load line (aspect kept). InvalidInput for sizes out of range, NotFound for an
    // unknown model, LimitExceeded where nothing fits.
    [[nodiscard]] Result<Settings> calculate_optimal_settings(int width, int height,
                                                              Quality quality,
                                                              std::string_view model) const;
    // The same with what was given up and why.
    [[nodiscard]] Result<Optimal> calculate_optimal(int width, int height, Quality quality,
                                                    std::string_view model) const;

    [[nodiscard]] Result<Safety> is_settings_safe(const Settings& settings) const;
    [[nodiscard]] Result<Summary> get_resource_summary(const Settings& settings) const;

    // The fastest settings of the model's completed runs that reach `min_quality` (0..1) and are
    // safe today.
    [[nodiscard]] Result<std::optional<Settings>> get_best_settings(std::string_view model,
                                                                    double min_quality) const;

    // The workflow that the forecasts of `settings` are about.
    [[nodiscard]] Result<std::string> workflow_of(const Settings& settings,
                                                  std::string_view prompt = "",
                                                  std::string_view negative = "") const;
    [[nodiscard]] const Budget& budget() const { return parts_.budget; }
    [[nodiscard]] std::span<const ModelProfile> profiles() const { return parts_.profiles; }

  private:
    [[nodiscard]] Result<PricedForecast> forecast(const Settings& settings) const;

    Parts parts_;
};

}  // namespace plimsoll::advisor
