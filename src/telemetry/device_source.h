// SPDX-License-Identifier: Apache-2.0
//
// Seam: what this machine's drivers tell about its cards. Tests use a fake library and captured
// folders in place of /sys and /proc.
//
// Leaves through: Device, DeviceSample, Holder.   Threads: one at a time (guarded_source.h lends a
// thread and a deadline).
#pragma once
#include "base/error.h"
#include "telemetry/device.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::telemetry {

// How much a look may cost.
enum class Attention : std::uint8_t {
    Watching,  // a job runs: the card is awake anyhow
    Resting,  // nothing runs: a card that could sleep is let be, only what does not wake it is read
};

class DeviceSource {
  public:
    virtual ~DeviceSource() = default;
    // The cards at hand; none is no error. A sleeping one is listed with what is known without
    // waking it. Unavailable where a driver is there and does not work, with what to do.
    [[nodiscard]] virtual Result<std::vector<Device>> list() = 0;
    // NotFound where `id` is no card of `list`.
    [[nodiscard]] virtual Result<DeviceSample> sample(std::string_view id, Attention attention) = 0;
    // Who holds the card's memory, most first. Dear (5 ms with NVML): seldom.
    [[nodiscard]] virtual Result<std::vector<Holder>> list_holders(std::string_view id) = 0;
};

}  // namespace plimsoll::telemetry
