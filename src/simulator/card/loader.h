// SPDX-License-Identifier: Apache-2.0
//
// How ComfyUI 0.3.64 decides which weights are on the card: partial loading module by module,
// eviction, reservations for activations. Written from the facts of its behaviour and checked
// against recorded decisions of the real loader (tests/data/simulator/residency.jsonl.gz).
//
// Threads: one, the executing thread.
#pragma once
#include "simulator/card/gpu_memory.h"
#include "simulator/card/recorded.h"
#include "simulator/launch_flags.h"

#include <cstdint>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::simulator {

enum class Device { Cpu, Gpu };

// Weights of one network: what ComfyUI calls the model inside a patcher. Shared by all patched
// clones of it (LoRA): they use the same memory.
struct Weights {
    struct Unit {
        std::string name;
        std::int64_t bytes = 0;
        bool castable = true;
        bool on_gpu = false;
        bool streamed = false;
    };
    std::string name;
    std::vector<Unit> units;        // largest first, among equals the later name first
    std::int64_t size_bytes = 0;    // units and buffers
    std::int64_t hidden_bytes = 0;  // buffers that ComfyUI does not count; they move in a full load
    int references = 2;             // Python's, to the patcher: a tie-break of eviction
    Device load_device = Device::Gpu;
    Device offload_device = Device::Cpu;
    Device at = Device::Cpu;          // where the model is said to be
    std::int64_t loaded_bytes = 0;    // what the loader believes to be on the card
    std::int64_t physical_bytes = 0;  // what really is
    bool low_vram = false;            // some units are streamed
    std::optional<int> applied_patches;

    [[nodiscard]] std::int64_t offloaded_bytes() const { return size_bytes - loaded_bytes; }
    // Bytes that cross PCIe in every forward.
    [[nodiscard]] std::int64_t streamed_bytes() const;
    [[nodiscard]] std::int64_t largest_streamed_bytes() const;
};

// `networks`: the parts that make one model, "te_clip_l" and "te_clip_g" for SDXL's text encoder.
// `share`: of their recorded bytes (1 but for the small test model).
[[nodiscard]] std::shared_ptr<Weights> make_weights(std::string name,
                                                    const std::vector<std::string>& networks,
                                                    int element_bytes, std::int64_t buffer_bytes,
                                                    double share = 1);

// A model as a node hands it on: the weights and what is patched onto them.
struct Patcher {
    std::shared_ptr<Weights> weights;
    int patches = 0;  // identity of the set of patches; 0: none
};

class ModelManager {
  public:
    // `host_free_bytes`: free memory of the computer, for the decision where a model is built.
    ModelManager(GpuMemory& memory, const LaunchFlags& flags, std::int64_t host_free_bytes);

    struct LoadRequest {
        std::vector<Patcher> models;
        double memory_required = 0;
        std::optional<double> minimum_memory_required = std::nullopt;
        bool force_full_load = false;
    };
    // load_models_gpu. False: the card was full in the midst of it (the caller raises).
    [[nodiscard]] bool load(const LoadRequest& request);
    // free_memory for callers that bring their own model (upscaling).
    void free(double bytes_needed);
    void unload_all();
    // The model is no longer referred to by any cached output: its weights vanish.
    void forget(const std::shared_ptr<Weights>& weights);
    // forget, for every model to which nothing but this object refers.
    void collect();

    // Where a UNet or a text encoder is built at first; built on the card it is loaded in full.
    [[nodiscard]] Device first_device_of_unet(const Weights& weights) const;
    [[nodiscard]] Device first_device_of_text_encoder(const Weights& weights) const;
    // Puts a freshly built model there.
    [[nodiscard]] bool place(const std::shared_ptr<Weights>& weights, Device device);

    [[nodiscard]] const std::vector<Patcher>& loaded() const { return loaded_; }
    [[nodiscard]] double reserve_bytes() const;  // EXTRA_RESERVED_VRAM
    // Called after each piece of weights that moved to the card, so that it may take time.
    std::function<void(std::int64_t)> on_upload;

  private:
    [[nodiscard]] double minimum_inference_bytes() const;
    // What free_memory does; `keep` is spared.
    void make_room(double bytes_needed, const std::vector<Patcher>& keep);
    [[nodiscard]] bool load_one(const Patcher& model, double budget_bytes);
    [[nodiscard]] bool place_units(const std::shared_ptr<Weights>& weights, double limit_bytes,
                                   bool full);
    // True when the model is gone as a whole.
    bool unload(const std::shared_ptr<Weights>& weights, std::optional<double> bytes_to_free);
    std::int64_t unload_part(const std::shared_ptr<Weights>& weights, double bytes_to_free);
    void detach(const std::shared_ptr<Weights>& weights);
    [[nodiscard]] bool set_physical(const std::shared_ptr<Weights>& weights, std::int64_t bytes);

    GpuMemory& memory_;
    const LaunchFlags& flags_;
    std::int64_t host_free_bytes_;
    std::vector<Patcher> loaded_;  // the most recently used first
    struct Placed {
        std::weak_ptr<Weights> weights;
        std::int64_t bytes = 0;
    };
    std::vector<Placed> placed_;  // everything that has bytes on the card, loaded or not
};

}  // namespace plimsoll::simulator
