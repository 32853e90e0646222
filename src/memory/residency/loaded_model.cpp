// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/loaded_model.h"

#include <algorithm>
#include <array>
#include <numeric>
#include <utility>

namespace plimsoll::memory {

namespace {

// Streams on which copies are made at once (ComfyUI's default with asynchronous offload).
constexpr std::size_t kStreams = 2;
// A patched weight that is streamed is copied and patched on every call: two more of it.
constexpr std::int64_t kPatchCopies = 2;

}  // namespace

LoadedModel::LoadedModel(std::shared_ptr<const LoadableModel> model, const Placement& placement,
                         StreamReserve reserve, int merge_element_bytes)
    : model_(std::move(model)),
      placement_(placement),
      reserve_(reserve),
      units_(model_->units.size()),
      at_(Place::Host),
      merge_element_bytes_(merge_element_bytes) {
    if (placement.built_on == Place::Card) {
        // Parameters are created there; containers' own and buffers are not.
        for (std::size_t i = 0; i < units_.size(); ++i)
            move(units_[i], model_->units[i], Place::Card);
        if (placement.moved_whole) move_attached(Place::Card);
    }
}

StreamedModules LoadedModel::streamed() const {
    StreamedModules streamed;
    const LowRank low_rank(*model_, patches_);
    for (std::size_t i = 0; i < units_.size(); ++i) {
        const LoadUnit& unit = model_->units[i];
        const bool on_card = units_[i].at == Place::Card;
        if (patches_.has(i) && (!on_card || unit.packed))
            streamed.patched_copy = std::max(
                streamed.patched_copy,
                patched_copy_bytes(unit, low_rank.elements(i), model_->compute_element_bytes));
        if (on_card) continue;
        const std::int64_t bytes = unit.bytes;
        ++streamed.count;
        streamed.bytes += bytes;
        if (bytes <= streamed.largest) {
            streamed.second = std::max(streamed.second, bytes);
            continue;
        }
        streamed.second = streamed.largest;
        streamed.largest = bytes;
        streamed.largest_unit = i;
    }
    return streamed;
}

std::int64_t LoadedModel::host_bytes() const {
    const std::int64_t all = model_->size_bytes + model_->unsaved_bytes;
    const bool backups_on_card = placement_.rests_on == Place::Card;
    return all - (card_bytes_ - (backups_on_card ? backup_bytes_ : 0)) +
           (backups_on_card ? 0 : backup_bytes_);
}

void LoadedModel::add_segments(Segments& segments) const {
    const bool backups = placement_.rests_on == Place::Card;
    for (std::size_t i = 0; i < units_.size(); ++i) {
        if (units_[i].at != Place::Card) continue;
        segments.add(model_->units[i].bytes);
        if (backups && units_[i].merged) segments.add(model_->units[i].bytes);
    }
    if (at_ == Place::Card) segments.add(model_->attached_bytes + model_->unsaved_bytes);
}

void LoadedModel::move(UnitState& state, const LoadUnit& unit, Place to) {
    if (state.at == to) return;
    state.at = to;
    card_bytes_ += to == Place::Card ? unit.bytes : -unit.bytes;
}

void LoadedModel::move_attached(Place to) {
    if (at_ == to) return;
    at_ = to;
    const std::int64_t bytes = model_->attached_bytes + model_->unsaved_bytes;
    card_bytes_ += to == Place::Card ? bytes : -bytes;
}

// What streaming a module takes on the card: its copy, and what computing with the copy adds.
std::int64_t LoadedModel::offload_cost(std::size_t unit) const {
    const LoadUnit& u = model_->units[unit];
    if (!u.streamable) return u.bytes;
    const std::int64_t copy = u.elements * model_->compute_element_bytes;
    if (patches_.has(unit)) return u.bytes + kPatchCopies * copy;
    return u.needs_cast ? u.bytes + copy : u.bytes;
}

std::vector<std::uint32_t> LoadedModel::order() const {
    std::vector<std::uint32_t> order(units_.size());
    std::iota(order.begin(), order.end(), 0U);
    if (reserve_ == StreamReserve::None) return order;  // LoadableModel's own
    std::stable_sort(order.begin(), order.end(), [&](std::uint32_t a, std::uint32_t b) {
        return offload_cost(a) > offload_cost(b);
    });
    return order;
}

void LoadedModel::load(double extra_bytes, const Patches& patches) {
    if (ever_loaded_ && patches.id != patches_.id) {
        extra_bytes += static_cast<double>(loaded_bytes_);
        rest();
        patches_ = patches;
    } else if (reserve_ == StreamReserve::LargestCopy && extra_bytes < 0) {
        (void)give_back(-extra_bytes);
        return;
    }
    patches_ = patches;
    merge_peak_ = 0;
    if (!streams_ && loaded_bytes_ > 0) return;  // it is there already
    const double budget = static_cast<double>(loaded_bytes_) + extra_bytes;
    keep_within(budget, budget > static_cast<double>(model_->size_bytes));
}

// Goes through the modules from the largest and keeps each that still fits; the loop goes on after
// one that does not, so that smaller ones may.
void LoadedModel::keep_within(double budget_bytes, bool whole) {
    const std::vector<std::uint32_t> order = this->order();
    std::int64_t kept_bytes = 0;
    double copy_bytes = 0;
    bool streams = false;
    std::vector<std::uint32_t> to_merge;
    std::vector<std::uint32_t> to_move;
    for (std::size_t i = 0; i < order.size(); ++i) {
        UnitState& state = units_[order[i]];
        const LoadUnit& unit = model_->units[order[i]];
        double copy = 0;
        if (reserve_ == StreamReserve::LargestCopy) {
            copy = static_cast<double>(offload_cost(order[i]));
            for (std::size_t next = i + 1; next < order.size() && next <= i + kStreams; ++next)
                copy += static_cast<double>(model_->units[order[next]].bytes);
            copy = std::max(copy, copy_bytes);
        }
        const bool fits = static_cast<double>(kept_bytes + unit.bytes) + copy < budget_bytes;
        if (whole || fits) {
            kept_bytes += unit.bytes;
            state.kept = true;
            state.streamed = false;
            const bool merges = patches_.has(order[i]) && !state.merged && !unit.packed;
            (merges ? to_merge : to_move).push_back(order[i]);
        } else {
            copy_bytes = copy;
            if (!unit.streamable) continue;  // stays where it is
            state.streamed = true;
            streams = true;
        }
    }
    // Patched weights go first, one by one; then everything else is moved.
    merge(to_merge);
    for (const std::uint32_t index : to_move)
        move(units_[index], model_->units[index], placement_.runs_on);
    streams_ = streams;
    if (whole && !streams) {
        move_attached(placement_.runs_on);
        kept_bytes = model_->size_bytes;
    }
    loaded_bytes_ = kept_bytes;
    copy_bytes_ = copy_bytes;
    ever_loaded_ = true;
}

void LoadedModel::merge(const std::vector<std::uint32_t>& units) {
    const LowRank low_rank(*model_, patches_);
    for (const std::uint32_t index : units) {
        UnitState& state = units_[index];
        const LoadUnit& unit = model_->units[index];
        if (placement_.runs_on == Place::Card)
            merge_peak_ = std::max(
                merge_peak_,
                card_bytes_ + merge_bytes(unit, low_rank.elements(index), merge_element_bytes_));
        move(state, unit, placement_.runs_on);
        state.merged = true;
        backup_bytes_ += unit.bytes;
        if (placement_.rests_on == Place::Card) card_bytes_ += unit.bytes;
    }
}

// The weight as it was before it was patched.
void LoadedModel::restore(UnitState& state, const LoadUnit& unit) {
    if (!state.merged) return;
    state.merged = false;
    backup_bytes_ -= unit.bytes;
    if (placement_.rests_on == Place::Card) card_bytes_ -= unit.bytes;
}

std::int64_t LoadedModel::give_back(double need_bytes) {
    std::vector<std::uint32_t> order = this->order();
    std::reverse(order.begin(), order.end());
    const double copy_before = copy_bytes_;
    double copy_bytes = copy_before;
    std::array<double, kStreams> next{};  // the modules that would be copied along
    if (!order.empty())
        next.fill(std::min(copy_bytes / (kStreams + 1),
                           static_cast<double>(model_->units[order.front()].bytes)));
    std::int64_t freed = 0;
    for (const std::uint32_t index : order) {
        const double growth = reserve_ == StreamReserve::None ? 0 : copy_bytes - copy_before;
        if (need_bytes + growth < static_cast<double>(freed)) break;
        UnitState& state = units_[index];
        const LoadUnit& unit = model_->units[index];
        if (!state.kept) continue;
        restore(state, unit);
        move(state, unit, placement_.rests_on);
        state.kept = false;
        state.streamed = unit.streamable;
        freed += unit.bytes;
        if (reserve_ == StreamReserve::None) continue;
        const double copy = static_cast<double>(offload_cost(index)) + next[0] + next[1];
        copy_bytes = std::max(copy_bytes, copy);
        next = {next[1], static_cast<double>(unit.bytes)};
    }
    streams_ = true;
    loaded_bytes_ -= freed;
    copy_bytes_ = copy_bytes;
    return freed;
}

LoadedModel::Left LoadedModel::unload(std::optional<double> need_bytes) {
    if (need_bytes && *need_bytes < static_cast<double>(loaded_bytes_) &&
        static_cast<double>(give_back(*need_bytes)) >= *need_bytes)
        return Left::Partly;
    rest();
    return Left::Wholly;
}

void LoadedModel::rest() {
    for (std::size_t i = 0; i < units_.size(); ++i) {
        restore(units_[i], model_->units[i]);
        move(units_[i], model_->units[i], placement_.rests_on);
        units_[i].kept = false;
        units_[i].streamed = false;
    }
    move_attached(placement_.rests_on);
    streams_ = false;
    ever_loaded_ = false;
    loaded_bytes_ = 0;
    copy_bytes_ = 0;
    merge_peak_ = 0;
    patches_ = {};
}

}  // namespace plimsoll::memory
