// SPDX-License-Identifier: Apache-2.0
//
// AMD's and Intel's cards through the files of their Linux drivers (amdgpu, i915, xe): memory below
// the device, sensors below hwmon, processes below fdinfo. No library is needed. Sources: Linux'
// Documentation/gpu/amdgpu, Documentation/ABI/testing/sysfs-driver-intel-{i915,xe}-hwmon.
//
// Enters through: SystemTree.   Threads: one at a time.
#pragma once
#include "telemetry/device_source.h"
#include "telemetry/system_tree.h"

namespace plimsoll::telemetry {

class DrmSource final : public DeviceSource {
  public:
    explicit DrmSource(SystemTree tree) : tree_(std::move(tree)) {}

    [[nodiscard]] Result<std::vector<Device>> list() override;
    [[nodiscard]] Result<DeviceSample> sample(std::string_view id, Attention attention) override;
    [[nodiscard]] Result<std::vector<Holder>> list_holders(std::string_view id) override;

  private:
    SystemTree tree_;
};

}  // namespace plimsoll::telemetry
