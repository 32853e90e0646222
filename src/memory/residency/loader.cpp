// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/loader.h"

#include <algorithm>
#include <tuple>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr double kOverProvision = 1.1;  // of weights, when deciding what must leave
constexpr double kNoBudget = 0.1;       // bytes: ComfyUI's way to say "nothing", 0 would mean all
constexpr double kEverything = 1e30;    // bytes: what unload_all_models asks for

}  // namespace

ModelHandle Loader::add(std::shared_ptr<const LoadableModel> model, const Placement& placement) {
    models_.push_back(std::make_unique<LoadedModel>(
        std::move(model), placement, rules_.stream_reserve, rules_.merge_element_bytes));
    return models_.size() - 1;
}

void Loader::drop(ModelHandle handle) {
    std::erase(current_, handle);
    models_[handle].reset();
}

std::int64_t Loader::card_bytes() const {
    std::int64_t sum = 0;
    for (const auto& model : models_)
        if (model) sum += model->card_bytes();
    return sum;
}

std::int64_t Loader::host_bytes() const {
    std::int64_t sum = 0;
    for (const auto& model : models_)
        if (model) sum += model->host_bytes();
    return sum;
}

std::int64_t Loader::segment_bytes() const {
    Segments segments;
    for (const auto& model : models_)
        if (model) model->add_segments(segments);
    return segments.bytes();
}

std::int64_t Loader::free_bytes() const {
    return total_ - others_ - card_bytes();
}

// Candidates leave in the order: most offloaded already, least referred to, smallest.
void Loader::free_memory(double need_bytes, Movement& movement) {
    using Rank = std::tuple<std::int64_t, int, std::int64_t, std::size_t>;
    std::vector<Rank> candidates;
    for (std::size_t i = current_.size(); i-- > 0;) {
        const LoadedModel& model = *models_[current_[i]];
        if (model.placement().runs_on == Place::Card)
            candidates.emplace_back(-model.offloaded_bytes(), model.references,
                                    model.model().size_bytes, i);
    }
    std::sort(candidates.begin(), candidates.end());
    std::vector<ModelHandle> left;
    for (const Rank& candidate : candidates) {
        std::optional<double> ask;
        if (rules_.smart_memory) {
            const auto free = static_cast<double>(free_bytes());
            if (free > need_bytes) break;
            ask = need_bytes - free;
        }
        const ModelHandle handle = current_[std::get<3>(candidate)];
        LoadedModel& model = *models_[handle];
        const std::int64_t before = model.card_bytes();
        const bool wholly = model.unload(ask) == LoadedModel::Left::Wholly;
        if (wholly) left.push_back(handle);
        movement.evicted.push_back({handle, before - model.card_bytes(), wholly});
        movement.evicted_bytes += before - model.card_bytes();
    }
    std::erase_if(current_, [&](ModelHandle handle) {
        return std::find(left.begin(), left.end(), handle) != left.end();
    });
}

double Loader::budget_of(const LoadedModel& model, double minimum, bool whole) const {
    if (model.placement().runs_on == Place::Host) return LoadedModel::kUnlimited;
    if (rules_.vram == VramState::None) return kNoBudget;
    if (whole || !rules_.loads_partly()) return LoadedModel::kUnlimited;
    const auto loaded = static_cast<double>(model.loaded_bytes());
    const double free = static_cast<double>(free_bytes()) + loaded;
    const double weights =
        std::max({rules_.weights_min, free - minimum,
                  std::min(free * rules_.weight_ratio_min, free - rules_.minimum_inference)});
    const double more = weights - loaded;
    if (rules_.stream_reserve == StreamReserve::None) return std::max(kNoBudget, more);
    return more == 0 ? kNoBudget : more;
}

Movement Loader::load(const LoadRequest& request) {
    Movement movement;
    const double extra =
        std::max(rules_.minimum_inference, request.required + rules_.extra_reserved);
    const double minimum = request.minimum ? std::max(rules_.minimum_inference,
                                                      *request.minimum + rules_.extra_reserved)
                                           : extra;
    std::int64_t weights = 0;
    bool on_card = false;
    for (const LoadRequest::Model& wanted : request.models) {
        std::erase(current_, wanted.handle);  // never a candidate for leaving
        const LoadedModel& model = *models_[wanted.handle];
        if (model.placement().runs_on == Place::Host) continue;
        on_card = true;
        weights += model.offloaded_bytes();
    }
    if (on_card) {
        free_memory(static_cast<double>(weights) * kOverProvision + extra, movement);
        if (static_cast<double>(free_bytes()) < minimum) free_memory(minimum, movement);
    }
    std::vector<LoadRequest::Model> ordered = request.models;
    if (rules_.order == LoadOrder::MainLast) std::reverse(ordered.begin(), ordered.end());
    for (const LoadRequest::Model& wanted : ordered) {
        LoadedModel& model = *models_[wanted.handle];
        const std::int64_t before = model.card_bytes();
        model.load(budget_of(model, minimum, request.whole), wanted.patches);
        if (model.merge_peak() > 0)
            movement.merge_peak = std::max(movement.merge_peak,
                                           card_bytes() - model.card_bytes() + model.merge_peak());
        const std::int64_t change = model.card_bytes() - before;
        movement.loaded_bytes += std::max<std::int64_t>(change, 0);
        movement.evicted_bytes += std::max<std::int64_t>(-change, 0);
        current_.insert(current_.begin(), wanted.handle);
    }
    return movement;
}

Movement Loader::free(double need_bytes) {
    Movement movement;
    free_memory(need_bytes, movement);
    return movement;
}

Movement Loader::visit(ModelHandle handle, double need_bytes) {
    Movement movement = free(need_bytes);
    models_[handle]->load_whole({});
    movement.loaded_bytes += models_[handle]->card_bytes();
    current_.insert(current_.begin(), handle);
    return movement;
}

void Loader::leave(ModelHandle handle) {
    (void)models_[handle]->unload(std::nullopt);
    std::erase(current_, handle);
}

Movement Loader::unload_all() {
    return free(kEverything);
}

}  // namespace plimsoll::memory
