// SPDX-License-Identifier: Apache-2.0
#include "telemetry/local_devices.h"

#include "telemetry/drm/drm_source.h"
#include "telemetry/guarded_source.h"
#include "telemetry/nvml/nvml_source.h"

#include <fmt/format.h>

#include <array>
#include <cmath>
#include <string>
#include <utility>

namespace plimsoll::telemetry {

namespace {

class LocalDevices final : public DeviceSource {
  public:
    explicit LocalDevices(LocalDeviceOptions options)
        : nvidia_(std::make_unique<NvmlSource>(SystemTree(options.root),
                                               std::move(options.nvml_library))),
          others_(std::make_unique<DrmSource>(SystemTree(options.root))) {}

    [[nodiscard]] Result<std::vector<Device>> list() override {
        auto nvidia = nvidia_.list();
        auto others = others_.list();
        // One vendor's broken driver does not hide the other's cards; alone, it is the answer.
        if (!nvidia) return others && !others->empty() ? others : nvidia;
        if (others)
            for (Device& device : *others) nvidia->push_back(std::move(device));
        return nvidia;
    }

    [[nodiscard]] Result<DeviceSample> sample(std::string_view id, Attention attention) override {
        auto sample = nvidia_.sample(id, attention);
        if (sample || sample.error().code != Errc::NotFound) return sample;
        return others_.sample(id, attention);
    }

    [[nodiscard]] Result<std::vector<Holder>> list_holders(std::string_view id) override {
        auto holders = nvidia_.list_holders(id);
        if (holders || holders.error().code != Errc::NotFound) return holders;
        return others_.list_holders(id);
    }

  private:
    GuardedSource nvidia_;
    GuardedSource others_;
};

}  // namespace

std::unique_ptr<DeviceSource> open_local_devices(LocalDeviceOptions options) {
    return std::make_unique<LocalDevices>(std::move(options));
}

const Device* match_device(const std::vector<Device>& devices, std::string_view name, Bytes total) {
    constexpr double kTotalDifference = 0.08;  // chosen: ECC and the driver's part of small cards
    const Device* match = nullptr;
    for (const Device& device : devices) {
        if (!name.contains(device.name)) continue;
        if (device.total &&
            std::abs(device.total->gib() - total.gib()) > kTotalDifference * device.total->gib())
            continue;
        if (match != nullptr) return nullptr;  // twins: telling one's heat as the other's would lie
        match = &device;
    }
    // AMD's open driver does not know the card's trade name: the only card with as much memory.
    if (match != nullptr) return match;
    for (const Device& device : devices) {
        if (device.vendor == Vendor::Nvidia || !device.total) continue;
        if (std::abs(device.total->gib() - total.gib()) > kTotalDifference * device.total->gib())
            continue;
        if (match != nullptr) return nullptr;
        match = &device;
    }
    return match;
}

}  // namespace plimsoll::telemetry
