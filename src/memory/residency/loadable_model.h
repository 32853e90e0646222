// SPDX-License-Identifier: Apache-2.0
//
// LoadableModel: a network as ComfyUI's loader sees it: leaf modules with their bytes, in the
// loader's order. Immutable after it was made.
#pragma once
#include "memory/networks/module_entry.h"
#include "modelfile/network_config.h"

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

// A leaf module with parameters: moved to the card as a whole, or streamed on every call.
struct LoadUnit {
    std::string_view prefix;            // "clip_l.", before the path
    const std::string* path = nullptr;  // the network's; it outlives the unit
    std::int64_t bytes = 0;             // parameters and buffers of its own state dict
    std::int64_t elements = 0;
    bool streamable = true;   // a ComfyUI op: its weights can be copied for each call
    bool needs_cast = false;  // stored in another type than it computes in
    bool packed = false;      // unpacked on every call (GGUF, nf4)

    [[nodiscard]] std::string full_path() const { return std::string(prefix) + *path; }
};

struct LoadableModel {
    std::string name;                 // for people: "sd_xl_base_1.0.safetensors / unet"
    std::vector<LoadUnit> units;      // largest first; of equal ones the later path first
    std::int64_t size_bytes = 0;      // the whole state dict: units and attached
    std::int64_t attached_bytes = 0;  // parameters of containers and saved buffers: they move with
                                      // the whole model only
    std::int64_t unsaved_bytes = 0;   // buffers outside the state dict: they move with the whole
                                      // model, and the loader counts them nowhere
    std::int64_t compute_element_bytes = 2;
    // By which ComfyUI decides where the model begins, before it was built: size_bytes, but of text
    // encoders the parameters in the server's own type, whatever the file's.
    std::int64_t placement_bytes = 0;
    std::shared_ptr<const void> networks;  // what the units' paths belong to, kept alive

    [[nodiscard]] std::int64_t unit_bytes() const { return size_bytes - attached_bytes; }
};

// The modules of one network, under a prefix, in the type they are stored in.
struct LoadablePart {
    std::string_view prefix;               // outlives the model
    std::span<const ModuleEntry> modules;  // outlives the model
    ComputeType storage = ComputeType::Float16;
};

[[nodiscard]] std::shared_ptr<LoadableModel> make_loadable(std::string name,
                                                           std::span<const LoadablePart> parts,
                                                           ComputeType compute);

// Whether matrices are unpacked as they run; int8 is a type of its own.
[[nodiscard]] bool unpacks_to_run(const modelfile::PartWeights& weights);
// Whether a module's matrix is one of those that quantised files pack: a Linear layer of a repeated
// block.
[[nodiscard]] bool is_packed_matrix(const ModuleEntry& module);
// Such matrices of `modules`, which the model was made of, take `millibits` thousandths of a bit an
// element, scales included, and are unpacked as they run. Their biases are counted as packed.
void pack_matrices(LoadableModel& model, std::span<const ModuleEntry> modules, int millibits);

}  // namespace plimsoll::memory
