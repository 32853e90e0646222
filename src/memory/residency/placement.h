// SPDX-License-Identifier: Apache-2.0
//
// Where ComfyUI lets a model run, rest and begin: on the card or in host memory.
#pragma once
#include "memory/program.h"
#include "memory/server.h"

#include <cstdint>

namespace plimsoll::memory {

enum class Place : std::uint8_t { Host, Card };

struct Placement {
    Place runs_on = Place::Card;   // the load device
    Place rests_on = Place::Host;  // the offload device: where unloading moves weights
    Place built_on = Place::Host;  // where the loader node creates it
    bool moved_whole = false;      // created on the host and moved there: buffers with it
};

// `free_bytes` of the card when the model is built. The size decides where it is built.
// A checkpoint's diffusion model may begin on the card; one with a loader node of its own does not.
enum class LoadedFrom : std::uint8_t { Checkpoint, OwnFile };
[[nodiscard]] Placement place_model(ModelRole role, std::int64_t size_bytes, const Server& server,
                                    const Device& device, std::int64_t free_bytes,
                                    LoadedFrom from = LoadedFrom::Checkpoint);

}  // namespace plimsoll::memory
