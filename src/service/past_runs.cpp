// SPDX-License-Identifier: Apache-2.0
#include "service/past_runs.h"

#include "service/quality/findings.h"

#include <string>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr double kQualityStep = 0.25;  // four qualities up to 1

advisor::PastRun past_run(const history::SettingsStats& known,
                          const advisor::ModelProfile& profile) {
    advisor::PastRun past;
    past.settings.model = profile.name;
    past.settings.width = known.settings.width;
    past.settings.height = known.settings.height;
    past.settings.steps = known.settings.steps;
    past.settings.cfg = known.settings.cfg;
    past.settings.sampler = known.settings.sampler;
    past.settings.scheduler = known.settings.scheduler;
    past.settings.batch = known.settings.batch;
    past.settings.vae_tiling = known.vae_tiled;
    const auto promised = advisor::expected_quality(past.settings, profile);
    past.quality = kQualityStep * (static_cast<int>(promised) + 1);
    past.seconds = known.stats.seconds_mean.value_or(0);
    past.peak = known.stats.peak_max.value_or(Bytes());
    past.completed = true;
    return past;
}

advisor::PastRun measured_run(const MeasuredQuality& measured,
                              const advisor::ModelProfile& profile) {
    advisor::PastRun past;
    past.settings = settings_of(measured.setting, profile.name);
    past.quality = measured.quality / 100;
    past.seconds = measured.seconds;
    past.peak = Bytes(measured.peak_bytes);
    past.completed = true;
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
        TRY_ASSIGN(const auto known, store.fastest_settings(name, kPastSettingsMax));
        for (const history::SettingsStats& one : known) past.push_back(past_run(one, profile));
    }
    TRY_ASSIGN(const auto measured, measured_of(store, profile.name));
    for (const MeasuredQuality& one : measured) {
        if (!is_of_profile(one.setting, profile)) continue;
        bool known = false;
        for (advisor::PastRun& run : past) {
            if (!draws_as(one.setting, run.settings)) continue;
            run.quality = one.quality / 100;
            known = true;
        }
        if (!known) past.push_back(measured_run(one, profile));
    }
    return past;
}

}  // namespace plimsoll::service
