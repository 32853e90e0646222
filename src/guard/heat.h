// SPDX-License-Identifier: Apache-2.0
//
// HeatWatch: how hot a card is by its own thresholds, with hysteresis, and which jobs may start.
// The rules are those of reference tools that were compared: a smoothed temperature, a moment's
// patience on the way up, a clearly lower threshold and half a minute on the way down.
//
// Enters through: samples with their time.   Leaves through: HeatState.   Threads: one at a time.
#pragma once
#include "base/phrase.h"
#include "guard/turn.h"
#include "telemetry/device.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::guard {

enum class HeatState : std::uint8_t {
    Unknown,  // no sensor, or no threshold: never blocks
    Cool,
    Warm,      // only light jobs start
    Hot,       // nothing starts; what runs may end
    Critical,  // what runs is interrupted and goes back into the queue
};
[[nodiscard]] std::string_view heat_state_name(HeatState state);  // "cool", ...
[[nodiscard]] HeatGate gate_of(HeatState state);

struct HeatSample {
    std::int64_t at_ms = 0;
    std::optional<double> temperature_c = std::nullopt;
    std::optional<bool> throttled = std::nullopt;  // by heat
    telemetry::ThermalLimits limits = {};
};

class HeatWatch {
  public:
    // `target_c`: the user's own wish for quiet nights; it takes the place of the card's
    // thresholds where it is lower.
    explicit HeatWatch(std::optional<double> target_c = std::nullopt) : target_c_(target_c) {}

    // True when the state changed. Samples of an earlier time are passed over.
    bool add(const HeatSample& sample);
    [[nodiscard]] HeatState state() const { return state_; }
    [[nodiscard]] Phrase why() const { return why_; }  // for people
    [[nodiscard]] std::optional<double> smoothed_c() const { return smoothed_c_; }
    // HOT or worse for longer than a fan needs.
    [[nodiscard]] bool is_stuck(std::int64_t now_ms) const;

  private:
    struct Marks {
        double warm = 0;
        double hot = 0;
        std::optional<double> critical;
        double resume = 0;
    };
    [[nodiscard]] std::optional<Marks> marks_of(const telemetry::ThermalLimits& limits) const;
    // Since when the smoothed temperature is at or above the mark, without a break.
    struct Above {
        std::optional<std::int64_t> since_ms;
        [[nodiscard]] bool lasts(bool above, std::int64_t now_ms, std::int64_t ms);
    };
    void smooth(const HeatSample& sample);
    [[nodiscard]] HeatState risen(const HeatSample& sample, const Marks& marks);

    std::optional<double> target_c_;
    HeatState state_ = HeatState::Unknown;
    Phrase why_;
    std::optional<double> smoothed_c_;
    std::int64_t last_ms_ = 0;
    std::int64_t changed_ms_ = 0;
    std::optional<std::int64_t> hot_since_ms_;
    Above warm_;
    Above hot_;
    Above critical_;
};

}  // namespace plimsoll::guard
