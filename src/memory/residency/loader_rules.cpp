// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/loader_rules.h"

#include "memory/residency/lora.h"

namespace plimsoll::memory {

namespace {

// All read in ComfyUI 0.3.64's model management.
constexpr double kMib = 1024.0 * 1024.0;
constexpr double kReservedLinux = 400 * kMib;
constexpr double kReservedWindows = 600 * kMib;
constexpr double kReservedLargeWindows = 700 * kMib;  // more than 15 GiB: swapping costs more there
constexpr double kLargeWindows = 15.0 * 1024 * kMib;
constexpr double kInference = 0.8 * 1024 * kMib;
constexpr double kRatioElsewhere = 0.4;  // than on NVIDIA, where it is 0
constexpr double kWeightsMin = 128 * kMib;

double reserved(const Server& server, const Device& device) {
    if (server.flags.reserve_vram) return static_cast<double>(server.flags.reserve_vram->count);
    if (device.os != OperatingSystem::Windows) return kReservedLinux;
    return static_cast<double>(device.total.count) > kLargeWindows ? kReservedLargeWindows
                                                                   : kReservedWindows;
}

}  // namespace

LoaderRules loader_rules(const Server& server, const Device& device) {
    const bool newer = server.version >= kReservesForCopies;
    LoaderRules rules;
    rules.vram = server.flags.vram;
    rules.smart_memory = !server.flags.disable_smart_memory;
    rules.extra_reserved = reserved(server, device);
    rules.minimum_inference = kInference + rules.extra_reserved;
    rules.weight_ratio_min = device.vendor == Vendor::Nvidia ? 0.0 : kRatioElsewhere;
    rules.weights_min = newer ? 0.0 : kWeightsMin;
    rules.stream_reserve = newer ? StreamReserve::LargestCopy : StreamReserve::None;
    rules.order = newer ? LoadOrder::MainLast : LoadOrder::MainFirst;
    rules.merge_element_bytes = merge_element_bytes(server, device);
    return rules;
}

}  // namespace plimsoll::memory
