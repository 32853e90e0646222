// SPDX-License-Identifier: Apache-2.0
#include "guard/foresight.h"

#include "workflow/parse.h"

#include <algorithm>
#include <utility>

namespace plimsoll::guard {

advisor::Surroundings Foresight::surroundings_of(const service::Place& place,
                                                 std::string_view prompt) {
    memory::ModelFiles files;
    Phrases warnings;
    std::string family;
    memory::Device device = place.site.device;
    if (const auto graph = workflow::parse_api_workflow(prompt)) {
        const std::lock_guard lock(models_mutex_);
        if (!models_ || models_->folders() != place.config.models_dirs.value)
            models_ = std::make_unique<service::ModelLibrary>(place.config.models_dirs.value);
        files = models_->files_of(*graph, warnings);
        family = service::family_of(*graph, files);
    }
    const std::lock_guard lock(others_mutex_);
    if (others_least_) device.used_by_others = std::min(device.used_by_others, *others_least_);
    return {.files = std::move(files),
            .server = place.site.server,
            .device = std::move(device),
            .card = place.site.card,
            .paces = place.site.paces,
            .family = std::move(family)};
}

advisor::Forecaster Foresight::forecaster(const service::Place& place, std::string_view prompt,
                                          const Past& past) {
    if (make_) return make_(place, prompt, past);
    return forecaster_after(surroundings_of(place, prompt), past);
}

Foresight::Contents Foresight::contents(const service::Place& place, std::string_view prompt) {
    const advisor::Surroundings around = surroundings_of(place, prompt);
    auto program = program_of(prompt, around);
    return {.program = program ? std::move(*program) : nullptr, .family = around.family};
}

bool Foresight::needs_clear(std::string_view prompt, const service::Place& place,
                            const advisor::Forecaster& ask, std::optional<Bytes> cleared_peak) {
    const auto as_is = ask({.workflow = prompt, .reserve_vram = std::nullopt});
    if (!as_is || as_is->memory.peak <= place.budget.load_line) return false;
    if (!cleared_peak) {
        const auto cleared =
            ask({.workflow = prompt, .reserve_vram = std::nullopt, .free_models_first = true});
        if (!cleared) return false;
        cleared_peak = cleared->memory.peak;
    }
    return as_is->memory.peak - *cleared_peak > kWorthClearing;
}

void Foresight::note_others(Bytes used) {
    const std::lock_guard lock(others_mutex_);
    others_least_ = std::min(others_least_.value_or(used), used);
}

bool Foresight::others_have_come(const service::Place& place) const {
    constexpr Bytes kOthersMore = Bytes(256LL << 20U);  // chosen: a desktop moves by less
    const std::lock_guard lock(others_mutex_);
    return others_least_ && place.site.device.used_by_others > *others_least_ + kOthersMore;
}

}  // namespace plimsoll::guard
