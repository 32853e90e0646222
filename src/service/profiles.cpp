// SPDX-License-Identifier: Apache-2.0
#include "service/profiles.h"

#include "base/text.h"
#include "modelfile/architectures.h"
#include "service/toml_table.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::size_t kProfilesMax = 1000;  // chosen: a hand-written list

Result<void> add_profile(TomlTable& reader, Profiles& into) {
    advisor::ModelProfile profile;
    std::string family;
    double side = profile.native_side;
    double prior_mb = 0;
    reader.text("name", profile.name, 64);
    reader.text("checkpoint", profile.checkpoint, 512);
    reader.text("family", family, 64);
    reader.number("native_side", side, 256, 4096);
    reader.number("best_cfg", profile.best_cfg, advisor::kCfgMin, advisor::kCfgMax);
    reader.text("sampler", profile.sampler, 64);
    reader.text("scheduler", profile.scheduler, 64);
    reader.text("style_words", profile.style_words);
    reader.text("negative_words", profile.negative_words);
    reader.flag("distilled", profile.distilled);
    reader.number("prior_vram_mb", prior_mb, 0, 1e6);
    reader.number("prior_seconds", profile.prior_seconds, 0, 1e6);
    if (profile.name.empty()) reader.refuse("name", "given");
    if (profile.checkpoint.empty()) reader.refuse("checkpoint", "given, as ComfyUI lists the file");
    TRY_DO(reader.outcome());
    profile.native_side = static_cast<int>(side);
    profile.prior_vram = Bytes(static_cast<std::int64_t>(prior_mb * 1e6));
    if (!family.empty()) {
        if (const auto known = modelfile::known_model(family); !known)
            return fail_at(reader.where(), known.error());
        into.families.insert_or_assign(profile.name, family);
    }
    const auto same = std::ranges::find(into.all, profile.name, &advisor::ModelProfile::name);
    if (same != into.all.end())
        *same = std::move(profile);
    else
        into.all.push_back(std::move(profile));
    return {};
}

}  // namespace

Result<Profiles> read_profiles(const Config& config) {
    Profiles profiles;
    const auto builtin = advisor::builtin_profiles();
    profiles.all.assign(builtin.begin(), builtin.end());
    if (!config.file) return profiles;
    TRY_DO(read_toml_list(*config.file, "profile", kProfilesMax,
                          [&](TomlTable& table) { return add_profile(table, profiles); }));
    return profiles;
}

std::string guess_family_of_file(std::string_view checkpoint, int native_side) {
    // Signs that publishers of checkpoints put into file names; the first that occurs counts.
    constexpr std::array<std::pair<std::string_view, std::string_view>, 13> kSigns{{
        {"refiner", "sdxl_refiner"},
        {"ssd-1b", "ssd1b"},
        {"ssd1b", "ssd1b"},
        {"vega", "segmind_vega"},
        {"koala-1b", "koala_1b"},
        {"koala-700m", "koala_700m"},
        {"pony", "sdxl"},
        {"xl", "sdxl"},
        {"v2-1", "sd21"},
        {"sd21", "sd21"},
        {"512-base", "sd20"},
        {"v1-5", "sd15"},
        {"sd15", "sd15"},
    }};
    const std::string lower = to_lower_ascii(checkpoint);
    for (const auto& [sign, family] : kSigns)
        if (lower.find(sign) != std::string::npos) return std::string(family);
    // Trained at 512: SD 1.x; at 768: SD 2.x; above: SDXL.
    if (native_side <= 512) return "sd15";
    return native_side <= 768 ? "sd21" : "sdxl";
}

std::string guess_family(const Profiles& profiles, const advisor::ModelProfile& profile) {
    if (const auto said = profiles.families.find(profile.name); said != profiles.families.end())
        return said->second;
    return guess_family_of_file(profile.checkpoint, profile.native_side);
}

}  // namespace plimsoll::service
