// SPDX-License-Identifier: Apache-2.0
#include "history/run.h"

#include "base/json.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::history {

namespace {

constexpr std::array<std::pair<Outcome, std::string_view>, 7> kOutcomes{{
    {Outcome::Running, "running"},
    {Outcome::Done, "done"},
    {Outcome::OutOfMemory, "out_of_memory"},
    {Outcome::Failed, "failed"},
    {Outcome::Cancelled, "cancelled"},
    {Outcome::TimedOut, "timed_out"},
    {Outcome::Lost, "lost"},
}};

bool is_letter_or_digit(char c) {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9');
}

}  // namespace

std::string_view outcome_name(Outcome outcome) {
    return std::ranges::find(kOutcomes, outcome, &std::pair<Outcome, std::string_view>::first)
        ->second;
}

std::optional<Outcome> parse_outcome(std::string_view name) {
    const auto* const found =
        std::ranges::find(kOutcomes, name, &std::pair<Outcome, std::string_view>::second);
    if (found == kOutcomes.end()) return std::nullopt;
    return found->first;
}

Result<void> check_preset_name(std::string_view name) {
    const auto is_allowed = [](char c) {
        return is_letter_or_digit(c) || c == '-' || c == '_' || c == '.' || c == ' ';
    };
    if (name.empty() || name.size() > kPresetNameMax)
        return fail(Errc::InvalidInput,
                    fmt::format("a preset's name has 1 to {} characters, not {}", kPresetNameMax,
                                name.size()));
    if (!std::ranges::all_of(name, is_allowed) || !is_letter_or_digit(name.front()) ||
        name.back() == ' ')
        return fail(Errc::InvalidInput,
                    "a preset's name consists of letters, digits, '-', '_', '.' and inner spaces "
                    "and starts with a letter or digit");
    return {};
}

Result<void> check_preset(const Preset& preset) {
    TRY_DO(check_preset_name(preset.name));
    if (preset.settings_json.size() > kPresetBytesMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("preset {} has {} bytes of settings, limit {}", preset.name,
                                preset.settings_json.size(), kPresetBytesMax));
    const auto settings = parse_json(preset.settings_json);
    if (!settings) return fail_at("preset " + preset.name, settings.error());
    if (!settings->is_object())
        return fail(Errc::InvalidInput,
                    fmt::format("preset {}: settings must be a JSON object", preset.name));
    return {};
}

}  // namespace plimsoll::history
