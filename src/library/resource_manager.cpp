// SPDX-License-Identifier: Apache-2.0
#include <plimsoll/resource_manager.h>

#include "advisor/resource_manager.h"
#include "history/sqlite_store.h"
#include "library/convert.h"
#include "library/place.h"
#include "service/forecast.h"
#include "service/past_runs.h"
#include "service/resource_desk.h"

#include <filesystem>
#include <utility>

namespace plimsoll {

struct ResourceManager::Parts {
    explicit Parts(library::Place of_place) : place(std::move(of_place)) {}

    // The history is opened anew each time: other processes write to it.
    Result<std::vector<advisor::PastRun>> past_runs(std::string_view model) const {
        const auto path = place.config.history_file();
        std::error_code ignored;
        if (!std::filesystem::exists(path, ignored)) return std::vector<advisor::PastRun>();
        TRY_ASSIGN(const auto store,
                   history::SqliteStore::create(path, {.access = history::Access::ReadOnly}));
        return service::past_runs_of(*store, model, place.profiles.all);
    }

    library::Place place;
    service::ResourceDesk desk{place.profiles, place.models, place.site, place.budget,
                               [this](std::string_view model) { return past_runs(model); }};
    std::string where = place.site.where.message();
    std::vector<std::string> place_warnings;
};

ResourceManager::ResourceManager(std::unique_ptr<Parts> parts) : parts_(std::move(parts)) {}
ResourceManager::ResourceManager(ResourceManager&&) noexcept = default;
ResourceManager& ResourceManager::operator=(ResourceManager&&) noexcept = default;
ResourceManager::~ResourceManager() = default;

Result<ResourceManager> ResourceManager::create(const Options& options) {
    TRY_ASSIGN(library::Place place, library::find_place(options));
    auto parts = std::make_unique<Parts>(std::move(place));
    parts->place_warnings = messages_of(parts->place.config.warnings);
    for (const Phrase& warning : parts->place.site.warnings)
        parts->place_warnings.push_back(warning.message());
    return ResourceManager(std::move(parts));
}

Result<Settings> ResourceManager::calculate_optimal_settings(int width, int height, Quality quality,
                                                             std::string_view model) const {
    TRY_ASSIGN(const advisor::Settings settings,
               parts_->desk.manager().calculate_optimal_settings(
                   width, height, library::from_public(quality), model));
    return library::to_public(settings);
}

Result<Safety> ResourceManager::is_settings_safe(const Settings& settings) const {
    TRY_ASSIGN(advisor::Safety safety,
               parts_->desk.manager().is_settings_safe(library::from_public(settings)));
    return Safety{safety.safe, messages_of(safety.reasons)};
}

Result<Summary> ResourceManager::get_resource_summary(const Settings& settings) const {
    const advisor::ResourceManager inner = parts_->desk.manager();
    TRY_ASSIGN(const advisor::Summary summary,
               inner.get_resource_summary(library::from_public(settings)));
    Summary out{
        .vram_bytes = summary.vram.count,
        .load_line_bytes = summary.load_line.count,
        .seconds = summary.seconds,
        .quality = library::to_public(summary.quality),
        .verdict = library::to_public(service::verdict_at_line(summary.forecast, summary.judged)),
        .phases = library::to_public(summary.forecast),
        .warnings = messages_of(summary.warnings)};
    TRY_ASSIGN(const advisor::ModelProfile profile,
               advisor::find_profile(settings.model, inner.profiles()));
    const std::vector<std::string> of_file =
        messages_of(parts_->desk.warnings_of(profile.checkpoint));
    out.warnings.insert(out.warnings.end(), of_file.begin(), of_file.end());
    return out;
}

Result<std::optional<Settings>> ResourceManager::get_best_settings(std::string_view model,
                                                                   double min_quality) const {
    TRY_ASSIGN(const std::optional<advisor::Settings> best,
               parts_->desk.best_settings(model, min_quality));
    if (!best) return std::nullopt;
    return library::to_public(*best);
}

const std::string& ResourceManager::where() const {
    return parts_->where;
}

const std::vector<std::string>& ResourceManager::warnings() const {
    return parts_->place_warnings;
}

}  // namespace plimsoll
