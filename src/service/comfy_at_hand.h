// SPDX-License-Identifier: Apache-2.0
//
// Seam: the ComfyUI that a daemon serves, for as long as it runs: the user's, or a simulated one of
// ours that may be started again on another port meanwhile.
//
// Threads: any.
#pragma once
#include "base/error.h"
#include "service/comfyui/answers.h"
#include "service/comfyui/upstream.h"
#include "telemetry/device_source.h"

#include <memory>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::service {

// What ComfyUI does not tell about its card; nullopt: nothing here measures it.
struct CardHeat {
    std::optional<double> temperature_c;
    std::optional<double> power_watts;
    std::optional<double> clock_mhz;
    std::optional<double> utilization;  // 0 to 1
    std::optional<bool> throttled;      // by heat
};

struct CardLook {
    CardHeat heat;
    telemetry::ThermalLimits limits;
    std::optional<telemetry::DeviceState> state;  // nullopt: no driver here tells
    std::string why;                              // of Sick, for people
    std::vector<telemetry::Holder> holders;       // most first
};

class ComfyAtHand {
  public:
    virtual ~ComfyAtHand() = default;
    // A client of the caller's own. Connects to nothing yet; Unavailable while none is started.
    [[nodiscard]] virtual Result<std::unique_ptr<Upstream>> reach() = 0;
    // `device` as ComfyUI itself described it last.
    [[nodiscard]] virtual CardLook look_at_card(const DeviceStats& device,
                                                telemetry::Attention attention) = 0;
    [[nodiscard]] virtual std::string address() const = 0;  // for people
    // Seconds of the card for each of ours: a simulated one may be faster.
    [[nodiscard]] virtual double pace() const { return 1; }
};

}  // namespace plimsoll::service
