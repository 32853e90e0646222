// SPDX-License-Identifier: Apache-2.0
#include "advisor/resource_manager.h"

#include "advisor/text_to_image.h"
#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <utility>

namespace plimsoll::advisor {
namespace {

// Fits: no need above the line, in time. Parked weights give way (docs/adr/0001).
bool fits(const PricedForecast& forecast, const Budget& budget) {
    const Judgement judged = judge(forecast, budget);
    return judged.standing != Standing::Over && judged.in_time;
}

// Nothing of the model is known to the forecast: its file is missing, or not recognised.
bool is_blind(const PricedForecast& forecast) {
    return forecast.memory.verdict == memory::Verdict::Unknown && forecast.memory.peak.count == 0;
}

int rounded_side(double side) {
    return std::clamp(static_cast<int>(std::lround(side / 64)) * 64, kSideMin, kSideMax);
}

}  // namespace

ResourceManager::ResourceManager(Parts parts) : parts_(std::move(parts)) {
    if (parts_.profiles.empty())
        parts_.profiles.assign(builtin_profiles().begin(), builtin_profiles().end());
}

Result<std::string> ResourceManager::workflow_of(const Settings& settings, std::string_view prompt,
                                                 std::string_view negative) const {
    TRY_DO(check_ranges(settings));
    TRY_ASSIGN(const ModelProfile profile, find_profile(settings.model, parts_.profiles));
    return build_text_to_image(settings, profile.checkpoint, prompt, negative);
}

Result<PricedForecast> ResourceManager::forecast(const Settings& settings) const {
    TRY_ASSIGN(const std::string workflow, workflow_of(settings));
    return parts_.forecaster(Scenario{.workflow = workflow, .reserve_vram = {}});
}

Result<Settings> ResourceManager::calculate_optimal_settings(int width, int height, Quality quality,
                                                             std::string_view model) const {
    TRY_ASSIGN(Optimal optimal, calculate_optimal(width, height, quality, model));
    return std::move(optimal.settings);
}

Result<Optimal> ResourceManager::calculate_optimal(int width, int height, Quality quality,
                                                   std::string_view model) const {
    TRY_ASSIGN(const ModelProfile profile, find_profile(model, parts_.profiles));
    Optimal out;
    Settings& s = out.settings;
    s = {.model = std::string(model),
         .width = width,
         .height = height,
         .steps = steps_of(quality, profile),
         .cfg = profile.best_cfg,
         .sampler = profile.sampler,
         .scheduler = profile.scheduler};
    TRY_ASSIGN(PricedForecast now, forecast(s));
    if (is_blind(now)) {
        out.notes.push_back(say<"taken.profile">(profile.checkpoint));
        return out;
    }
    const auto over = [&] { return judge(now, parts_.budget).standing == Standing::Over; };

    if (over()) {
        const Phrase why = judge(now, parts_.budget).sentence;
        s.vae_tiling = true;
        TRY_ASSIGN(PricedForecast tiled, forecast(s));
        if (tiled.memory.peak < now.memory.peak || tiled.memory.floor < now.memory.floor ||
            tiled.memory.working_set < now.memory.working_set) {
            now = std::move(tiled);
            out.notes.push_back(say<"taken.tiles">(why));
        } else {
            s.vae_tiling = false;
        }
    }
    if (!judge(now, parts_.budget).in_time) {
        const double share = parts_.budget.seconds_max / now.seconds.total;
        const int fewer = std::max(kStepsMin, static_cast<int>(std::floor(s.steps * share)));
        if (fewer < s.steps) {
            out.notes.push_back(
                say<"taken.fewer_steps">(fewer, s.steps, judge(now, parts_.budget).sentence));
            s.steps = fewer;
            TRY_ASSIGN(now, forecast(s));
        }
    }
    for (double factor = 0.9; !fits(now, parts_.budget) && factor > 0.3; factor -= 0.1) {
        const int w = rounded_side(width * factor);
        const int h = rounded_side(height * factor);
        if (w >= s.width && h >= s.height) continue;
        const Phrase why = judge(now, parts_.budget).sentence;
        s.width = std::min(w, s.width);
        s.height = std::min(h, s.height);
        TRY_ASSIGN(now, forecast(s));
        out.notes.push_back(say<"taken.size">(s.width, s.height, width, height, why));
    }
    if (!fits(now, parts_.budget))
        return fail(
            Errc::LimitExceeded,
            say<"error.nothing_fits">(model.substr(0, 80), judge(now, parts_.budget).sentence));
    return out;
}

Result<Safety> ResourceManager::is_settings_safe(const Settings& settings) const {
    TRY_ASSIGN(const Summary summary, get_resource_summary(settings));
    Safety out;
    out.standing = summary.judged.standing;
    out.safe = summary.judged.standing != Standing::Over && summary.judged.in_time;
    if (out.standing != Standing::Under || !summary.judged.in_time)
        out.reasons.push_back(summary.judged.sentence);
    out.reasons.insert(out.reasons.end(), summary.warnings.begin(), summary.warnings.end());
    return out;
}

Result<Summary> ResourceManager::get_resource_summary(const Settings& settings) const {
    TRY_ASSIGN(const ModelProfile profile, find_profile(settings.model, parts_.profiles));
    Summary out;
    TRY_ASSIGN(out.forecast, forecast(settings));
    out.judged = judge(out.forecast, parts_.budget);
    out.load_line = parts_.budget.load_line;
    out.quality = expected_quality(settings, profile);
    out.vram = out.forecast.memory.peak;
    out.floor = out.forecast.memory.floor;
    out.seconds = out.forecast.seconds.total;
    out.warnings = out.forecast.memory.warnings;
    if (is_blind(out.forecast) && profile.prior_seconds > 0) {
        // Priors are for 1024 x 1024 and 20 steps; time grows with both, the weights in the memory
        // do not.
        const double area = static_cast<double>(settings.width) * settings.height * settings.batch /
                            (1024.0 * 1024.0);
        out.from_prior = true;
        out.seconds = profile.prior_seconds * area * settings.steps / 20.0;
        out.vram = Bytes(static_cast<std::int64_t>(static_cast<double>(profile.prior_vram.count) *
                                                   std::max(1.0, area)));
        out.floor = out.vram;
        out.judged.over_by = std::max(Bytes(0), out.vram - out.load_line);
        out.judged.in_time = out.seconds <= parts_.budget.seconds_max;
        if (out.judged.over_by.count > 0) out.judged.standing = Standing::Over;
        out.judged.sentence = say<"judge.prior">(out.vram, out.load_line);
        out.warnings.push_back(say<"note.prior">(profile.name));
    }
    if (settings.sampler.ends_with("_ancestral") || settings.sampler.ends_with("_sde"))
        out.warnings.push_back(say<"note.ancestral">(settings.sampler));
    return out;
}

Result<std::optional<Settings>> ResourceManager::get_best_settings(std::string_view model,
                                                                   double min_quality) const {
    if (!std::isfinite(min_quality) || min_quality < 0 || min_quality > 1)
        return fail(Errc::InvalidInput,
                    fmt::format("minimum quality {} is out of range: 0 to 1", min_quality));
    if (!parts_.history) return std::nullopt;
    std::vector<PastRun> runs = parts_.history(model);
    std::erase_if(runs, [&](const PastRun& run) {
        return !run.completed || !(run.quality >= min_quality) || !check_ranges(run.settings);
    });
    std::ranges::sort(runs, [](const PastRun& a, const PastRun& b) {
        return std::pair(a.seconds, a.peak) < std::pair(b.seconds, b.peak);
    });
    for (const PastRun& run : runs) {
        const auto safety = is_settings_safe(run.settings);
        if (safety && safety->safe) return run.settings;
    }
    return std::nullopt;
}

}  // namespace plimsoll::advisor
