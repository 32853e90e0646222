// SPDX-License-Identifier: Apache-2.0
#include "service/past_runs.h"

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <string>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr double kQualityStep = 0.25;  // four qualities up to 1

std::uint64_t seed_of(const std::string& text) {
    std::uint64_t seed = 0;
    std::from_chars(text.data(), text.data() + text.size(), seed);
    return seed;
}

advisor::PastRun past_run(const history::RunRecord& run, const advisor::ModelProfile& profile) {
    advisor::PastRun past;
    past.settings = {
        .model = profile.name,
        .width = run.settings.width,
        .height = run.settings.height,
        .steps = run.settings.steps,
        .cfg = run.settings.cfg,
        .sampler = run.settings.sampler,
        .scheduler = run.settings.scheduler,
        .batch = run.settings.batch,
        .seed = seed_of(run.settings.seed),
        .vae_tiling = std::ranges::any_of(run.changes, [](const history::ChangeRecord& change) {
            return change.knob == advisor::change_kind_name(advisor::ChangeKind::TileVae);
        })};
    const auto promised = advisor::expected_quality(past.settings, profile);
    past.quality = kQualityStep * (static_cast<int>(promised) + 1);
    past.seconds = run.observed_seconds.value_or(run.forecast_seconds);
    past.peak = run.observed_peak.value_or(run.forecast_peak);
    past.completed = run.outcome == history::Outcome::Done;
    return past;
}

}  // namespace

Result<std::vector<advisor::PastRun>> past_runs_of(
    history::Store& store, std::string_view model,
    std::span<const advisor::ModelProfile> profiles) {
    TRY_ASSIGN(const advisor::ModelProfile profile, advisor::find_profile(model, profiles));
    std::vector<std::string> names = {profile.name};
    if (profile.checkpoint != profile.name) names.push_back(profile.checkpoint);
    std::vector<advisor::PastRun> past;
    for (const std::string& name : names) {
        TRY_ASSIGN(const history::RunPage page,
                   store.list_runs({.model = name, .outcome = history::Outcome::Done},
                                   {.limit = kPastRunsMax}));
        // A workflow of the user's own has no settings that could be used again.
        for (const history::RunRecord& run : page.runs)
            if (run.settings.width > 0 && run.settings.steps > 0)
                past.push_back(past_run(run, profile));
    }
    return past;
}

}  // namespace plimsoll::service
