// SPDX-License-Identifier: Apache-2.0
//
// What `plimsoll simulate` in another process tells of its card beyond what ComfyUI does:
// temperature, thresholds, throttling, and how fast its time runs. A real ComfyUI does not know the
// route and is asked no more than once a minute.
//
// Enters through: HTTP, Clock.   Leaves through: CardLook.   Threads: one at a time; pace from any.
#pragma once
#include "base/clock.h"
#include "service/comfy_at_hand.h"

#include <atomic>
#include <chrono>
#include <optional>
#include <string>

namespace plimsoll::daemon {

class SimulatedCard {
  public:
    // `clock` outlives it.
    explicit SimulatedCard(const Clock& clock) : clock_(clock) {}
    // nullopt: it is no simulated one, or does not answer now.
    [[nodiscard]] std::optional<service::CardLook> look(const std::string& url,
                                                        const service::DeviceStats& device);
    [[nodiscard]] double pace() const { return pace_; }

  private:
    const Clock& clock_;
    std::string url_;
    std::optional<std::chrono::nanoseconds> refused_at_;
    std::atomic<double> pace_ = 1;
};

}  // namespace plimsoll::daemon
