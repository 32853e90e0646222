// SPDX-License-Identifier: Apache-2.0
//
// LoadedModel: one model in the hands of ComfyUI's loader: which modules are on the card, which are
// streamed, and what the loader believes about it. The two differ where modules stay on the card
// although they are marked for streaming, and where unloading moves nothing (--highvram).
//
// Sizes that ComfyUI computes in floating point are doubles, so that every comparison falls as it
// does there.
#pragma once
#include "memory/residency/loadable_model.h"
#include "memory/residency/lora.h"
#include "memory/residency/placement.h"
#include "memory/residency/segments.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// What partial loading keeps free for the copies of streamed weights.
enum class StreamReserve : std::uint8_t {
    None,         // 0.3.64: copies are made in what the estimate leaves
    LargestCopy,  // 0.33.0: room for a streamed module and the next two
};

// Modules of a loaded model that are not on the card.
struct StreamedModules {
    std::int64_t count = 0;
    std::int64_t bytes = 0;
    std::int64_t largest = 0;
    std::int64_t second = 0;                  // the next largest
    std::optional<std::size_t> largest_unit;  // by index
    // Most that one call takes for a module that is patched as it is streamed or unpacked; 0: none
    // is.
    std::int64_t patched_copy = 0;
};

class LoadedModel {
  public:
    LoadedModel(std::shared_ptr<const LoadableModel> model, const Placement& placement,
                StreamReserve reserve, int merge_element_bytes);

    [[nodiscard]] const LoadableModel& model() const { return *model_; }
    [[nodiscard]] const Placement& placement() const { return placement_; }

    // What the loader believes is on the load device; of a model that runs on the host too.
    [[nodiscard]] std::int64_t loaded_bytes() const { return loaded_bytes_; }
    [[nodiscard]] std::int64_t offloaded_bytes() const {
        return model_->size_bytes - loaded_bytes_;
    }
    // What is on the card in truth.
    [[nodiscard]] std::int64_t card_bytes() const { return card_bytes_; }
    // What is in the host's memory: modules that are not on the card, and what merged weights were
    // before, where that rests there.
    [[nodiscard]] std::int64_t host_bytes() const;
    // What the native allocator's segments take for the modules on the card.
    void add_segments(Segments& segments) const;
    // Most of this model on the card at once while patches were merged into its weights by the last
    // load; 0 where none were.
    [[nodiscard]] std::int64_t merge_peak() const { return merge_peak_; }
    [[nodiscard]] StreamedModules streamed() const;

    // References that decide between candidates of equal rank for unloading.
    int references = 2;

    // Loads modules until `extra_bytes` more are taken (the loader's "use more VRAM").
    void load(double extra_bytes, const Patches& patches);
    // Loads everything, whatever there is.
    void load_whole(const Patches& patches) { load(kUnlimited, patches); }

    enum class Left : std::uint8_t { Wholly, Partly };
    // Gives back more than `need_bytes` module by module, the smallest first; nullopt, or where
    // that does not suffice: everything.
    Left unload(std::optional<double> need_bytes);

    static constexpr double kUnlimited = 1e32;  // ComfyUI's own "no limit"

  private:
    struct UnitState {
        Place at = Place::Host;
        bool kept = false;      // loaded for good (patched in place)
        bool streamed = false;  // marked for a copy on every call
        bool merged = false;    // patched in place; what it was before is kept
    };

    [[nodiscard]] std::int64_t offload_cost(std::size_t unit) const;
    [[nodiscard]] std::vector<std::uint32_t> order() const;  // the loader's, largest first
    void move(UnitState& state, const LoadUnit& unit, Place to);
    void move_attached(Place to);
    void merge(const std::vector<std::uint32_t>& units);
    void restore(UnitState& state, const LoadUnit& unit);
    void keep_within(double budget_bytes, bool whole);
    [[nodiscard]] std::int64_t give_back(double need_bytes);
    void rest();

    std::shared_ptr<const LoadableModel> model_;
    Placement placement_;
    StreamReserve reserve_;
    Patches patches_;
    std::vector<UnitState> units_;
    Place at_ = Place::Host;    // of what moves with the whole model
    bool streams_ = false;      // some module is streamed
    bool ever_loaded_ = false;  // weights were patched in since the last rest
    std::int64_t loaded_bytes_ = 0;
    std::int64_t card_bytes_ = 0;
    std::int64_t backup_bytes_ = 0;  // of merged weights as they were, where models rest
    std::int64_t merge_peak_ = 0;
    int merge_element_bytes_ = 4;
    double copy_bytes_ = 0;  // reserved for copies
};

}  // namespace plimsoll::memory
