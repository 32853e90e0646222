// SPDX-License-Identifier: Apache-2.0
//
// Dynamic VRAM: weights come to the card when they are used, in pages, and leave when computing
// needs the room. Activations always win over weights; the model in use wins over those before it.
// A weight that finds no page is streamed for each call.
#include "memory/residency/policy.h"

#include <algorithm>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kPage = 32LL * 1024 * 1024;       // comfy-aimdo maps weights so
constexpr std::int64_t kHeadroom = 256LL * 1024 * 1024;  // that it leaves free, unless told
constexpr std::int64_t kPagedMin = 16LL * 1024;          // smaller modules are ordinary tensors
constexpr std::int64_t kPagedFirst = 64LL * 1024;        // smaller ones are given pages first
// Buffers that streamed weights are copied to grow by so much.
constexpr std::int64_t kCopyChunk = 16LL * 1024 * 1024;

std::int64_t whole_chunks(std::int64_t bytes) {
    return (bytes + kCopyChunk - 1) / kCopyChunk * kCopyChunk;
}

class DynamicPolicy final : public ResidencyPolicy {
  public:
    DynamicPolicy(const Server& server, const Device& device)
        : total_(device.total.count),
          own_headroom_(server.flags.reserve_vram ? server.flags.reserve_vram->count : kHeadroom),
          extra_headroom_(server.flags.vram_headroom.count),
          others_(device.used_by_others.count),
          ahead_(copies_ahead(server, device)) {}

    ModelHandle add(std::shared_ptr<const LoadableModel> model,
                    const Placement& placement) override {
        Entry entry{.model = std::move(model), .placement = placement};
        for (const LoadUnit& unit : entry.model->units)
            (unit.bytes <= kPagedMin ? entry.unpaged_bytes : entry.paged_bytes) += unit.bytes;
        entry.unpaged_bytes += entry.model->attached_bytes + entry.model->unsaved_bytes;
        models_.push_back(std::move(entry));
        return models_.size() - 1;
    }

    void drop(ModelHandle handle) override {
        std::erase(current_, handle);
        std::erase(in_use_, handle);
        models_[handle] = {};
    }

    void set_references(ModelHandle, int) override {}
    void set_others(Bytes others) override { others_ = others.count; }

    const LoadableModel& model(ModelHandle handle) const override { return *models_[handle].model; }

    // Only moves what is too small for pages; the rest follows on use.
    Movement load(const LoadRequest& request) override {
        in_use_.clear();
        Movement movement;
        for (const LoadRequest::Model& wanted : request.models) {
            std::erase(current_, wanted.handle);
            Entry& entry = models_[wanted.handle];
            entry.patched_copy = largest_patched_copy(*entry.model, wanted.patches);
            if (entry.placement.runs_on == Place::Card && entry.card_bytes == 0) {
                entry.card_bytes = entry.unpaged_bytes;
                movement.loaded_bytes += entry.unpaged_bytes;
            }
        }
        for (std::size_t i = request.models.size(); i-- > 0;) {
            current_.insert(current_.begin(), request.models[i].handle);
            in_use_.insert(in_use_.begin(), request.models[i].handle);
        }
        return movement;
    }

    Movement visit(ModelHandle handle, double) override {
        Entry& entry = models_[handle];
        // None of ComfyUI's own layers: it comes whole, and no page of it leaves.
        entry.unpaged_bytes += std::exchange(entry.paged_bytes, 0);
        return load({.models = {{handle, {}}}, .minimum = {}, .whole = true});
    }
    void leave(ModelHandle handle) override {
        models_[handle].card_bytes = 0;
        std::erase(current_, handle);
        std::erase(in_use_, handle);
    }

    // Pages count as free: they would leave.
    std::int64_t free_bytes() const override { return total_ - others_ - fixed_bytes(); }

    // Copies of streamed modules are computing's too: pages give way to them.
    Movement compute(std::int64_t need_bytes) override {
        const std::int64_t room =
            std::max<std::int64_t>(0, page_budget() - fixed_bytes() - need_bytes);
        std::vector<std::int64_t> pages = share(room);
        std::int64_t copies = 0;
        for (std::size_t i = 0; i < current_.size(); ++i)
            if (is_used(current_[i]) && takes_part(models_[current_[i]]))
                copies = std::max(copies, streamed_of(models_[current_[i]], pages[i]).in_flight);
        if (copies > 0) pages = share(std::max<std::int64_t>(0, room - copies));
        Movement movement;
        for (std::size_t i = 0; i < current_.size(); ++i) {
            Entry& entry = models_[current_[i]];
            if (!takes_part(entry)) continue;
            const std::int64_t now = entry.card_bytes - entry.unpaged_bytes;
            movement.loaded_bytes += std::max<std::int64_t>(pages[i] - now, 0);
            if (now > pages[i]) {
                movement.evicted.push_back({current_[i], now - pages[i], pages[i] == 0});
                movement.evicted_bytes += now - pages[i];
            }
            entry.card_bytes = entry.unpaged_bytes + pages[i];
        }
        return movement;
    }

    Movement unload_all() override {
        Movement movement;
        for (const ModelHandle handle : current_) {
            Entry& entry = models_[handle];
            if (entry.card_bytes > 0) movement.evicted.push_back({handle, entry.card_bytes, true});
            movement.evicted_bytes += entry.card_bytes;
            entry.card_bytes = 0;
        }
        current_.clear();
        in_use_.clear();
        return movement;
    }

    std::vector<Stay> stays() const override {
        std::vector<Stay> stays;
        for (const ModelHandle handle : current_) {
            const Entry& entry = models_[handle];
            Stay stay{.handle = handle,
                      .size_bytes = entry.model->size_bytes,
                      .card_bytes = entry.card_bytes};
            if (entry.placement.runs_on == Place::Card) {
                const Stay streamed = streamed_of(entry, entry.card_bytes - entry.unpaged_bytes);
                stay.streamed_bytes = streamed.streamed_bytes;
                stay.streamed_count = streamed.streamed_count;
                stay.largest_streamed = streamed.largest_streamed;
                stay.in_flight = streamed.in_flight;
                stay.patched_copy = entry.patched_copy;
            }
            stays.push_back(stay);
        }
        return stays;
    }

    std::int64_t card_bytes() const override {
        std::int64_t sum = 0;
        for (const Entry& entry : models_) sum += entry.card_bytes;
        return sum;
    }

    // Weights stay in their files; what is on the card is a copy.
    std::int64_t host_bytes() const override { return 0; }
    std::int64_t mapped_bytes() const override {
        std::int64_t sum = 0;
        for (const Entry& entry : models_)
            if (entry.model) sum += entry.model->size_bytes;
        return sum;
    }
    // Pages are not the allocator's.
    std::int64_t segment_bytes() const override { return card_bytes(); }

  private:
    struct Entry {
        std::shared_ptr<const LoadableModel> model;
        Placement placement;
        std::int64_t unpaged_bytes = 0;  // on the card as soon as the model was used
        std::int64_t paged_bytes = 0;
        std::int64_t card_bytes = 0;
        std::int64_t patched_copy = 0;
    };

    [[nodiscard]] std::int64_t fixed_bytes() const {
        std::int64_t fixed = 0;
        for (const ModelHandle handle : current_)
            if (models_[handle].card_bytes > 0) fixed += models_[handle].unpaged_bytes;
        return fixed;
    }

    // Two limits at once: what ComfyUI itself takes stays a headroom below the card, which
    // --reserve-vram sets; and so much stays free of everything, other programs included.
    [[nodiscard]] std::int64_t page_budget() const {
        return std::min(total_ - own_headroom_, total_ - others_ - kHeadroom) - extra_headroom_;
    }

    // A weight is patched as it comes to the card, whether it stays there or not.
    static std::int64_t largest_patched_copy(const LoadableModel& model, const Patches& patches) {
        const LowRank low_rank(model, patches);
        std::int64_t largest = 0;
        for (std::size_t i = 0; i < model.units.size(); ++i)
            if (patches.has(i))
                largest = std::max(largest, patched_copy_bytes(model.units[i], low_rank.elements(i),
                                                               model.compute_element_bytes));
        return largest;
    }

    // Pages are given to the small modules, then from the largest down: those between find none.
    [[nodiscard]] Stay streamed_of(const Entry& entry, std::int64_t pages) const {
        Stay stay;
        std::int64_t room = pages;
        std::int64_t second = 0;
        const auto give = [&](const LoadUnit& unit) {
            room -= unit.bytes;
            if (room >= 0) return;
            stay.streamed_bytes += unit.bytes;
            ++stay.streamed_count;
            const std::int64_t smaller = std::min(stay.largest_streamed, unit.bytes);
            second = std::max(second, smaller);
            stay.largest_streamed = std::max(stay.largest_streamed, unit.bytes);
        };
        const std::vector<LoadUnit>& units = entry.model->units;  // largest first
        for (const LoadUnit& unit : units)
            if (unit.bytes > kPagedMin && unit.bytes < kPagedFirst) give(unit);
        for (const LoadUnit& unit : units)
            if (unit.bytes >= kPagedFirst) give(unit);
        stay.in_flight = whole_chunks(stay.largest_streamed) + (ahead_ ? whole_chunks(second) : 0);
        return stay;
    }

    [[nodiscard]] bool is_used(ModelHandle handle) const {
        return std::ranges::find(in_use_, handle) != in_use_.end();
    }
    static bool takes_part(const Entry& entry) {
        return entry.placement.runs_on == Place::Card && entry.card_bytes > 0;
    }

    // Bytes of pages that each current model gets, the one in use first.
    [[nodiscard]] std::vector<std::int64_t> share(std::int64_t room) const {
        std::vector<std::int64_t> pages(current_.size(), 0);
        for (std::size_t i = 0; i < current_.size(); ++i) {
            const Entry& entry = models_[current_[i]];
            if (!takes_part(entry)) continue;
            const std::int64_t all = entry.paged_bytes;
            const std::int64_t now = entry.card_bytes - entry.unpaged_bytes;
            pages[i] = std::min(is_used(current_[i]) ? all : now, room);
            if (pages[i] < all) pages[i] = pages[i] / kPage * kPage;
            pages[i] = std::max<std::int64_t>(pages[i], 0);
            room -= pages[i];
        }
        return pages;
    }

    std::int64_t total_;
    std::int64_t own_headroom_;
    std::int64_t extra_headroom_;
    std::int64_t others_;
    bool ahead_;  // a second copy is made while the first is used
    std::vector<Entry> models_;
    std::vector<ModelHandle> current_;
    std::vector<ModelHandle> in_use_;
};

}  // namespace

std::unique_ptr<ResidencyPolicy> dynamic_policy(const Server& server, const Device& device) {
    return std::make_unique<DynamicPolicy>(server, device);
}

}  // namespace plimsoll::memory
