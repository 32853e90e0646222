// SPDX-License-Identifier: Apache-2.0
//
// LocalCard: what this machine's driver tells about the card that a ComfyUI of the same machine
// uses. ComfyUI names the card, not where it sits: where two could be meant, nothing is told.
//
// Enters through: DeviceSource, Clock.   Leaves through: CardLook.   Threads: one at a time.
#pragma once
#include "base/clock.h"
#include "service/comfy_at_hand.h"
#include "telemetry/device_source.h"

#include <chrono>
#include <optional>
#include <string>

namespace plimsoll::service {

class LocalCard {
  public:
    // Both outlive it.
    LocalCard(telemetry::DeviceSource& source, const Clock& clock)
        : source_(source), clock_(clock) {}

    // Empty where no driver tells about that card. A driver that does not answer is a sick card,
    // with what it said.
    [[nodiscard]] CardLook look(const DeviceStats& device, telemetry::Attention attention);

  private:
    void find(const DeviceStats& device);
    void list_holders(telemetry::Attention attention);

    telemetry::DeviceSource& source_;
    const Clock& clock_;
    std::string name_;  // of ComfyUI's device that `card_` belongs to
    std::optional<telemetry::Device> card_;
    std::string trouble_;  // why the driver's cards could not be listed
    std::optional<std::chrono::nanoseconds> listed_at_;
    std::vector<telemetry::Holder> holders_;
    std::optional<std::chrono::nanoseconds> held_at_;
};

}  // namespace plimsoll::service
