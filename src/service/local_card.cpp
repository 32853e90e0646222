// SPDX-License-Identifier: Apache-2.0
#include "service/local_card.h"

#include "telemetry/local_devices.h"

#include <algorithm>

namespace plimsoll::service {

namespace {

using std::chrono::nanoseconds;
using std::chrono::seconds;

// Vendor profiles change a card's thresholds while it runs.
constexpr seconds kListEvery{60};
// A list of processes costs NVML 5 ms (reports), a hundred times a look at memory.
constexpr seconds kHoldersEvery{5};

bool is_due(const std::optional<nanoseconds>& last, nanoseconds now, seconds every) {
    return !last || now - *last >= every;
}

}  // namespace

void LocalCard::find(const DeviceStats& device) {
    const nanoseconds now = clock_.steady();
    const bool same = device.name == name_;
    if (same && !is_due(listed_at_, now, kListEvery)) return;
    name_ = device.name;
    listed_at_ = now;
    const auto devices = source_.list();
    trouble_ = devices ? std::string() : devices.error().message;
    if (!devices) return;
    const telemetry::Device* const match =
        telemetry::match_device(*devices, device.name, device.vram_total);
    // One that fell asleep does not tell its size, by which it was known.
    const bool sleeps = same && card_ && std::ranges::any_of(*devices, [&](const auto& one) {
                            return one.id == card_->id && !one.total;
                        });
    if (match == nullptr && sleeps) return;
    if (match == nullptr) {
        card_.reset();
        holders_.clear();
    } else {
        card_ = *match;
    }
}

void LocalCard::list_holders(telemetry::Attention attention) {
    if (attention == telemetry::Attention::Resting) return;  // it may want to sleep
    const nanoseconds now = clock_.steady();
    if (!is_due(held_at_, now, kHoldersEvery)) return;
    held_at_ = now;
    // A driver that lists none leaves the list empty: the look itself tells whether it is well.
    auto holders = source_.list_holders(card_->id);
    holders_ = holders ? std::move(*holders) : std::vector<telemetry::Holder>();
}

CardLook LocalCard::look(const DeviceStats& device, telemetry::Attention attention) {
    CardLook look;
    if (device.type == "cpu") return look;
    find(device);
    if (!card_) {
        if (trouble_.empty()) return look;
        look.state = telemetry::DeviceState::Sick;
        look.why = trouble_;
        return look;
    }
    look.limits = card_->limits;
    const auto sample = source_.sample(card_->id, attention);
    if (!sample) {
        look.state = telemetry::DeviceState::Sick;
        look.why = sample.error().message;
        listed_at_.reset();  // it may have gone, or come back under another number
        return look;
    }
    look.state = sample->state;
    look.why = sample->why;
    look.heat = {.temperature_c = sample->temperature_c,
                 .power_watts = sample->power_watts,
                 .clock_mhz = sample->clock_mhz,
                 .utilization = sample->utilization,
                 .throttled = sample->throttled_by_heat};
    if (sample->state == telemetry::DeviceState::Awake) list_holders(attention);
    look.holders = holders_;
    return look;
}

}  // namespace plimsoll::service
