// SPDX-License-Identifier: Apache-2.0
//
// The numbers and switches of ComfyUI's estimate-based loader, as the server's version, flags and
// system set them.
#pragma once
#include "memory/residency/loaded_model.h"
#include "memory/server.h"

namespace plimsoll::memory {

// The first version whose loader reserves room for copies, knows no floor for weights, and loads
// the models of a job in a fixed order. Facts were read at 0.3.64 (without) and 0.12.1 (with).
inline constexpr ComfyVersion kReservesForCopies{.major = 0, .minor = 12, .patch = 0};

// Order in which the models of one call are loaded.
enum class LoadOrder : std::uint8_t {
    MainFirst,  // 0.3.64 has none (a Python set); this is one of those that occur
    MainLast,
};

struct LoaderRules {
    VramState vram = VramState::Normal;
    bool smart_memory = true;      // cleared: whatever another model needs, everything else leaves
    double extra_reserved = 0;     // bytes kept from estimates: for other programs
    double minimum_inference = 0;  // bytes that loading leaves free whatever the estimate
    double weight_ratio_min = 0;   // of free memory that weights get at least
    double weights_min = 0;        // bytes of weights that are loaded whatever is free
    StreamReserve stream_reserve = StreamReserve::None;
    LoadOrder order = LoadOrder::MainFirst;
    int merge_element_bytes = 4;  // of the arithmetic that merges LoRAs

    // --lowvram changes where text encoders run, not how weights are loaded.
    [[nodiscard]] bool loads_partly() const {
        return vram == VramState::Normal || vram == VramState::Low;
    }
};

[[nodiscard]] LoaderRules loader_rules(const Server& server, const Device& device);

}  // namespace plimsoll::memory
