// SPDX-License-Identifier: Apache-2.0
//
// Loader: ComfyUI's estimate-based model management on a simulated card: what is loaded, evicted,
// partly loaded, in which order. It owns the models; everything else that is on the card (other
// programs, activations) is a number given to it.
#pragma once
#include "base/units.h"
#include "memory/residency/loaded_model.h"
#include "memory/residency/loader_rules.h"

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <vector>

namespace plimsoll::memory {

using ModelHandle = std::size_t;

// One call of load_models_gpu.
struct LoadRequest {
    struct Model {
        ModelHandle handle = 0;
        Patches patches;
    };
    std::vector<Model> models;  // the main model first
    double required = 0;        // bytes that computing may take, for deciding what else must leave
    std::optional<double>
        minimum;         // bytes that partial loading leaves free; nullopt: as `required`
    bool whole = false;  // no partial loading
};

// What moved in a call.
struct Movement {
    struct Evicted {
        ModelHandle handle = 0;
        std::int64_t bytes = 0;  // that left the card
        bool wholly = false;
    };
    std::vector<Evicted> evicted;
    std::int64_t loaded_bytes = 0;   // that came to the card
    std::int64_t evicted_bytes = 0;  // that left it
    // Most weights on the card at once while LoRAs were merged, with what merging takes; 0: none
    // were.
    std::int64_t merge_peak = 0;
};

class Loader {
  public:
    // `total` as cudaMemGetInfo reports it, `others`: everything on the card outside torch.
    Loader(const LoaderRules& rules, Bytes total, Bytes others)
        : rules_(rules), total_(total.count), others_(others.count) {}

    // Other programs came or went.
    void set_others(Bytes others) { others_ = others.count; }
    // The flags of a server do not change while it runs; a forecast of another one starts afresh.
    [[nodiscard]] const LoaderRules& rules() const { return rules_; }

    // A node created the model; it may already be on the card.
    [[nodiscard]] ModelHandle add(std::shared_ptr<const LoadableModel> model,
                                  const Placement& placement);
    // Nothing refers to the model any more: its memory is free.
    void drop(ModelHandle handle);
    [[nodiscard]] const LoadedModel& model(ModelHandle handle) const { return *models_[handle]; }
    void set_references(ModelHandle handle, int references) {
        models_[handle]->references = references;
    }
    // Models that the loader knows, the last used first.
    [[nodiscard]] std::span<const ModelHandle> current() const { return current_; }

    // What ComfyUI's get_free_memory says: nothing but weights is in use between computations. Can
    // be negative where --highvram keeps more than there is.
    [[nodiscard]] std::int64_t free_bytes() const;
    [[nodiscard]] std::int64_t card_bytes() const;     // weights on the card
    [[nodiscard]] std::int64_t host_bytes() const;     // weights in the host's memory
    [[nodiscard]] std::int64_t segment_bytes() const;  // of the native allocator, for those on it

    Movement load(const LoadRequest& request);
    // Makes models leave until more than `need_bytes` are free; keeps none.
    Movement free(double need_bytes);
    // A model outside the loader's list comes to the card whole; and leaves it again.
    Movement visit(ModelHandle handle, double need_bytes);
    void leave(ModelHandle handle);
    // POST /free, an out-of-memory error, the end of a prompt with --disable-smart-memory.
    Movement unload_all();

  private:
    void free_memory(double need_bytes, Movement& movement);
    [[nodiscard]] double budget_of(const LoadedModel& model, double minimum, bool whole) const;

    LoaderRules rules_;
    std::int64_t total_;
    std::int64_t others_;
    std::vector<std::unique_ptr<LoadedModel>> models_;  // empty where dropped
    std::vector<ModelHandle> current_;
};

}  // namespace plimsoll::memory
