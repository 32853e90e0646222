// SPDX-License-Identifier: Apache-2.0
//
// ResidencyPolicy: which weights are on the card while a phase computes, under one of ComfyUI's two
// regimes: decided by estimates before the phase (Loader), or page by page while it runs (dynamic
// VRAM).
#pragma once
#include "memory/residency/loader.h"

#include <memory>
#include <vector>

namespace plimsoll::memory {

// One model as a phase finds it.
struct Stay {
    ModelHandle handle = 0;
    std::int64_t size_bytes = 0;
    std::int64_t card_bytes = 0;      // on the card
    std::int64_t streamed_bytes = 0;  // copied for every forward
    std::int64_t streamed_count = 0;  // modules
    std::int64_t largest_streamed = 0;
    std::int64_t in_flight = 0;     // most that copies of streamed modules take at once
    std::int64_t patched_copy = 0;  // most that a call takes for a module patched as it is streamed
};

class ResidencyPolicy {
  public:
    virtual ~ResidencyPolicy() = default;

    [[nodiscard]] virtual ModelHandle add(std::shared_ptr<const LoadableModel> model,
                                          const Placement& placement) = 0;
    virtual void drop(ModelHandle handle) = 0;
    virtual void set_references(ModelHandle handle, int references) = 0;
    [[nodiscard]] virtual const LoadableModel& model(ModelHandle handle) const = 0;

    // Other programs came or went: bytes outside torch's allocator.
    virtual void set_others(Bytes others) = 0;
    // Before a phase: ComfyUI's load_models_gpu.
    virtual Movement load(const LoadRequest& request) = 0;
    // A model that no list knows comes to the card whole, after others made room for `need_bytes`;
    // and leaves it again.
    virtual Movement visit(ModelHandle handle, double need_bytes) = 0;
    virtual void leave(ModelHandle handle) = 0;
    // What ComfyUI's decisions (batches, slices) take as free.
    [[nodiscard]] virtual std::int64_t free_bytes() const = 0;
    // The phase computes with `need_bytes` besides weights, using the models of the last load.
    virtual Movement compute(std::int64_t need_bytes) = 0;
    virtual Movement unload_all() = 0;

    // Models that are known to be loaded, the last used first.
    [[nodiscard]] virtual std::vector<Stay> stays() const = 0;
    [[nodiscard]] virtual std::int64_t card_bytes() const = 0;  // all weights on the card
    // All weights in the host's memory; those that are left in files whose pages may be dropped.
    [[nodiscard]] virtual std::int64_t host_bytes() const = 0;
    [[nodiscard]] virtual std::int64_t mapped_bytes() const = 0;
    // What the caching allocator's segments take for the weights on the card: at least these.
    [[nodiscard]] virtual std::int64_t segment_bytes() const = 0;
};

[[nodiscard]] std::unique_ptr<ResidencyPolicy> estimate_policy(const Server& server,
                                                               const Device& device);
[[nodiscard]] std::unique_ptr<ResidencyPolicy> dynamic_policy(const Server& server,
                                                              const Device& device);

}  // namespace plimsoll::memory
