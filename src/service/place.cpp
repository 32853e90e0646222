// SPDX-License-Identifier: Apache-2.0
#include "service/place.h"

#include <utility>

namespace plimsoll::service {

Config with_limits(Config config, const Overrides& overrides) {
    const auto put = [](auto& setting, const auto& value) {
        if (!value) return;
        setting.value = *value;
        setting.origin = Origin::Flag;
        setting.source = "the request";
    };
    put(config.max_vram_mb, overrides.max_vram_mb);
    put(config.safety_margin, overrides.safety_margin);
    put(config.max_duration_min, overrides.max_duration_min);
    return config;
}

Result<Where> where_of(const Place& place, const Overrides& overrides) {
    Where where{.site = {}, .budget = place.budget};
    const bool limits =
        overrides.max_vram_mb || overrides.safety_margin || overrides.max_duration_min;
    const bool elsewhere = overrides.card || overrides.vram_mb || overrides.comfyui_version ||
                           overrides.comfyui_flags || overrides.memory_policy;
    if (!limits && !elsewhere) {
        where.site = place.site;
        return where;
    }
    Config config = with_limits(place.config, overrides);
    if (limits) {
        TRY_ASSIGN(where.budget, budget_of(config));
    }
    if (!elsewhere) {
        where.site = place.site;
        return where;
    }
    if (overrides.card) config.card.value = *overrides.card;
    if (overrides.comfyui_version) config.comfyui_version.value = *overrides.comfyui_version;
    if (overrides.comfyui_flags) config.comfyui_flags.value = *overrides.comfyui_flags;
    if (overrides.memory_policy) config.memory_policy.value = *overrides.memory_policy;
    const SiteWishes wishes{.vram_mb = overrides.vram_mb, .ask_comfyui = false};
    const bool here = config.card.value.empty() && !overrides.vram_mb && place.stats.has_value();
    if (here) {
        TRY_ASSIGN(where.site, site_of_stats(config, wishes, *place.stats, place.address));
    } else {
        TRY_ASSIGN(where.site, find_site(config, wishes, nullptr));
    }
    // What this machine taught holds for its own card alone.
    if (where.site.card_name == place.site.card_name) {
        where.site.kind = place.site.kind;
        where.site.paces = place.site.paces;
    }
    return where;
}

}  // namespace plimsoll::service
