// SPDX-License-Identifier: Apache-2.0
#include "advisor/settings.h"

#include "base/say.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::advisor {
namespace {

struct QualityRow {
    Quality quality;
    std::string_view name;
    int steps;            // chosen: second-order multistep samplers settle between 20 and 30
    int steps_distilled;  // chosen: as turbo and lightning model cards recommend, within our range
};
constexpr std::array<QualityRow, 4> kQualities = {{{Quality::Draft, "draft", 12, 8},
                                                   {Quality::Optimized, "optimized", 20, 8},
                                                   {Quality::High, "high", 28, 10},
                                                   {Quality::Ultra, "ultra", 40, 14}}};

bool looks_like_file(std::string_view name) {
    const std::string lower = to_lower_ascii(name);
    return lower.ends_with(".safetensors") || lower.ends_with(".ckpt") || lower.ends_with(".pt");
}

Result<void> check_side(std::string_view name, int value) {
    if (value < kSideMin || value > kSideMax || value % kSideStep != 0)
        return fail(Errc::InvalidInput,
                    say<"error.side">(name, value, kSideMin, kSideMax, kSideStep));
    return {};
}

}  // namespace

std::string_view quality_name(Quality quality) {
    return kQualities[static_cast<std::size_t>(quality)].name;
}

Result<Quality> parse_quality(std::string_view name) {
    const std::string lower = to_lower_ascii(trim(name));
    for (const QualityRow& row : kQualities)
        if (row.name == lower) return row.quality;
    return fail(Errc::InvalidInput, say<"error.quality_name">(name.substr(0, 40)));
}

Result<void> check_ranges(const Settings& s) {
    TRY_DO(check_side("width", s.width));
    TRY_DO(check_side("height", s.height));
    if (s.steps < kStepsMin || s.steps > kStepsMax)
        return fail(Errc::InvalidInput, say<"error.steps">(s.steps, kStepsMin, kStepsMax));
    if (!std::isfinite(s.cfg) || s.cfg < kCfgMin || s.cfg > kCfgMax)
        return fail(Errc::InvalidInput, say<"error.cfg">(s.cfg, kCfgMin, kCfgMax));
    if (s.batch < 1 || s.batch > kBatchMax)
        return fail(Errc::InvalidInput, say<"error.batch">(s.batch, kBatchMax));
    if (s.model.empty()) return fail(Errc::InvalidInput, say<"error.no_model">());
    if (s.sampler.empty() || s.scheduler.empty())
        return fail(Errc::InvalidInput, say<"error.no_sampler">());
    return {};
}

std::span<const ModelProfile> builtin_profiles() {
    // Times and memory are the starting values that the product promises for these names (10^6
    // bytes, seconds).
    static const std::array<ModelProfile, 3> profiles = {{
        {.name = "sdxl-base",
         .checkpoint = "sd_xl_base_1.0.safetensors",
         .prior_vram = Bytes(2'800'000'000),
         .prior_seconds = 45,
         .style_words = "",
         .negative_words = "lowres, blurry, deformed, watermark, text"},
        {.name = "anime-sprite",
         .checkpoint = "animagine-xl-3.1.safetensors",
         .prior_vram = Bytes(2'600'000'000),
         .prior_seconds = 35,
         .style_words = "anime style, game sprite, clean lines, plain background",
         .negative_words = "lowres, bad anatomy, bad hands, watermark, photo",
         .best_cfg = 6.0,
         .sampler = "euler_ancestral",
         .scheduler = "normal"},
        {.name = "3d-cartoon",
         .checkpoint = "dreamshaper_8.safetensors",
         .native_side = 512,
         .prior_vram = Bytes(2'400'000'000),
         .prior_seconds = 25,
         .style_words = "3d cartoon, soft light, rounded shapes, detailed render",
         .negative_words = "lowres, blurry, deformed, watermark, photo",
         .best_cfg = 6.5},
    }};
    return profiles;
}

Result<ModelProfile> find_profile(std::string_view name, std::span<const ModelProfile> profiles) {
    for (const ModelProfile& profile : profiles)
        if (profile.name == name || profile.checkpoint == name) return profile;
    if (looks_like_file(name)) {
        ModelProfile neutral;
        neutral.name = std::string(name);
        neutral.checkpoint = std::string(name);
        return neutral;
    }
    std::vector<std::string> names;
    for (const ModelProfile& profile : profiles) names.push_back(profile.name);
    std::string list;
    for (const auto& nearest : nearest_names(name, names, 3))
        list += (list.empty() ? "" : ", ") + nearest;
    return fail(Errc::NotFound, say<"error.profile">(name.substr(0, 80), list));
}

int steps_of(Quality quality, const ModelProfile& profile) {
    const QualityRow& row = kQualities[static_cast<std::size_t>(quality)];
    return profile.distilled ? row.steps_distilled : row.steps;
}

Quality expected_quality(const Settings& settings, const ModelProfile& profile) {
    Quality reached = Quality::Draft;
    for (const QualityRow& row : kQualities)
        if (settings.steps >= steps_of(row.quality, profile)) reached = row.quality;
    // Far below the size a model was trained at it draws worse, whatever the steps.
    const double trained = static_cast<double>(profile.native_side) * profile.native_side;
    const double drawn = static_cast<double>(settings.width) * settings.height;
    if (drawn < 0.5 * trained && reached > Quality::Optimized) reached = Quality::Optimized;
    return reached;
}

}  // namespace plimsoll::advisor
