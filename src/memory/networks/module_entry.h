// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/units.h"
#include "memory/compute_type.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::memory {

// How a module's parameters are stored: as the network is, or in fp32 whatever the network's type
// (CLIP's logit_scale), or in fp16 (what is not scaled in a scaled fp8 file), or in int8 (a
// quantised layer), or whole numbers of 64 bits.
enum class ModuleStorage : std::uint8_t { AsNetwork, Float32, Float16, Int8, Int64 };

// One module that owns parameters or buffers, in named_modules() order; a leaf is a load unit of
// ComfyUI's loader.
struct ModuleEntry {
    std::string path;             // "input_blocks.1.0.in_layers.2"
    std::string_view class_name;  // "Conv2d", "Linear", "GroupNorm", "LayerNorm", "Embedding", ...
    std::int64_t elements = 0;    // parameters and buffers in the module's own state_dict
    bool castable = true;         // a ComfyUI op with comfy_cast_weights: can be streamed
    ModuleStorage storage = ModuleStorage::AsNetwork;
    bool leaf = true;  // false: a container's own parameters, which move with the whole model only
    std::int64_t unsaved_elements = 0;  // of `elements`: buffers that are in no state dict
    std::int64_t buffer_elements = 0;   // of `elements`: no parameters, of a network's own
    std::int64_t scales = 0;  // parameters more, in fp32: the scale of a scaled fp8 Linear layer
    std::int64_t whole_numbers = 0;    // of `elements`: whole numbers, whatever the network's type
    std::int64_t whole_bytes = 0;      // that those take
    std::int64_t packed_elements = 0;  // of `elements`: unpacked as they are used
    std::int64_t packed_bytes = 0;     // that those take, scales included

    [[nodiscard]] Bytes weights(ComputeType network_storage) const;
};

}  // namespace plimsoll::memory
