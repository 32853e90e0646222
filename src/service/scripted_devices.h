// SPDX-License-Identifier: Apache-2.0
//
// Double of the seam DeviceSource: a machine with one card.
#pragma once
#include "telemetry/device_source.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

// Answers what a test writes into it, and counts the questions.
class ScriptedDevices final : public telemetry::DeviceSource {
  public:
    [[nodiscard]] Result<std::vector<telemetry::Device>> list() override {
        ++lists;
        if (!trouble.empty()) return fail(Errc::Unavailable, trouble);
        return devices;
    }
    [[nodiscard]] Result<telemetry::DeviceSample> sample(std::string_view,
                                                         telemetry::Attention) override {
        if (!trouble.empty()) return fail(Errc::Unavailable, trouble);
        return current;
    }
    [[nodiscard]] Result<std::vector<telemetry::Holder>> list_holders(std::string_view) override {
        ++holder_lists;
        return holders;
    }

    std::vector<telemetry::Device> devices{{.id = "GPU-1",
                                            .name = "NVIDIA GeForce RTX 3060",
                                            .total = Bytes::from_gib(12),
                                            .limits = {.slowdown_c = 98}}};
    telemetry::DeviceSample current{.temperature_c = 66, .throttled_by_heat = false};
    std::vector<telemetry::Holder> holders{
        {.pid = 4242, .name = "python3", .bytes = Bytes::from_gib(3)}};
    std::string trouble;
    int lists = 0;
    int holder_lists = 0;
};

}  // namespace plimsoll::service
