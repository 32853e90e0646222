// SPDX-License-Identifier: Apache-2.0
//
// The cards of this machine, whatever their drivers: NVML for NVIDIA's, Linux' own files for the
// others, each behind a guard against hanging drivers. Nothing is opened before the first question.
//
// Enters through: DeviceSource of each vendor.   Threads: any.
#pragma once
#include "telemetry/device_source.h"

#include <filesystem>
#include <memory>
#include <optional>
#include <string_view>
#include <vector>

namespace plimsoll::telemetry {

struct LocalDeviceOptions {
    std::filesystem::path root = "/";    // where /sys and /proc are
    std::filesystem::path nvml_library;  // empty: the usual places
};
[[nodiscard]] std::unique_ptr<DeviceSource> open_local_devices(LocalDeviceOptions options = {});

// The card that another program names: torch's name without the vendor's ("NVIDIA GeForce RTX 3050
// 6GB Laptop GPU" inside "cuda:0 NVIDIA ... : cudaMallocAsync") and its bytes, which torch counts
// up to a few per cent less than the driver. nullptr where none or more than one could be meant.
[[nodiscard]] const Device* match_device(const std::vector<Device>& devices, std::string_view name,
                                         Bytes total);

}  // namespace plimsoll::telemetry
