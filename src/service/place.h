// SPDX-License-Identifier: Apache-2.0
//
// Place: what a daemon knows of its surroundings at a moment (configuration, profiles, server,
// card, limits), and how a question changes it: another card, other flags, other limits.
//
// Enters through: Config, ServerStats.   Leaves through: Place.   Threads: plain values.
#pragma once
#include "advisor/plan.h"
#include "base/error.h"
#include "service/profiles.h"
#include "service/quality/scorers/scorer.h"
#include "service/site.h"

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

struct Place {
    Config config;
    Profiles profiles;
    std::vector<ScorerSpec> scorers = {};  // that pictures of quality sessions are shown to
    Site site;
    advisor::Budget budget;
    std::optional<ServerStats> stats;  // nullopt: ComfyUI has not answered
    std::string address;               // of ComfyUI
    advisor::ServerControl control = advisor::ServerControl::Theirs;
};

// What one question says otherwise. Numbers are in range already: the door has checked them.
struct Overrides {
    std::optional<std::string> card;
    std::optional<double> vram_mb;
    std::optional<std::string> comfyui_version;
    std::optional<std::string> comfyui_flags;
    std::optional<std::string> memory_policy;  // "estimate", "dynamic"
    std::optional<int> max_vram_mb;
    std::optional<double> safety_margin;
    std::optional<double> max_duration_min;
};

// The configuration with the limits of the question.
[[nodiscard]] Config with_limits(Config config, const Overrides& overrides);

struct Where {
    Site site;
    advisor::Budget budget;
};
// NotFound for a card that is not in the catalogue, InvalidInput for flags or a version that cannot
// be.
[[nodiscard]] Result<Where> where_of(const Place& place, const Overrides& overrides);

}  // namespace plimsoll::service
