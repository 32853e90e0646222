// SPDX-License-Identifier: Apache-2.0
#include "guard/heat.h"

#include "base/say.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::guard {

namespace {

// All of reference/telemetry-fleet.md A6, which compares what tools of this kind do.
constexpr double kSmoothSeconds = 5;
constexpr double kWarmBelowC = 5;      // below the highest operating temperature
constexpr double kHotBelowC = 1;       // below it
constexpr double kCriticalBelowC = 1;  // below where the hardware throttles
constexpr double kResumeBelowC = 8;    // below HOT
constexpr std::int64_t kWarmMs = 10'000;
constexpr std::int64_t kHotMs = 5'000;
constexpr std::int64_t kCriticalMs = 3'000;
constexpr std::int64_t kRestMs = 30'000;
constexpr std::int64_t kStuckMs = 15 * 60'000;
constexpr std::int64_t kGapMs = 30'000;  // chosen: after that the old mean says nothing

}  // namespace

std::string_view heat_state_name(HeatState state) {
    switch (state) {
        case HeatState::Unknown:
            return "unknown";
        case HeatState::Cool:
            return "cool";
        case HeatState::Warm:
            return "warm";
        case HeatState::Hot:
            return "hot";
        case HeatState::Critical:
            return "critical";
    }
    return "unknown";
}

HeatGate gate_of(HeatState state) {
    switch (state) {
        case HeatState::Unknown:
        case HeatState::Cool:
            return HeatGate::All;
        case HeatState::Warm:
            return HeatGate::LightOnly;
        case HeatState::Hot:
        case HeatState::Critical:
            return HeatGate::Nobody;
    }
    return HeatGate::All;
}

bool HeatWatch::Above::lasts(bool above, std::int64_t now_ms, std::int64_t ms) {
    if (!above) {
        since_ms.reset();
        return false;
    }
    if (!since_ms) since_ms = now_ms;
    return now_ms - *since_ms >= ms;
}

std::optional<HeatWatch::Marks> HeatWatch::marks_of(const telemetry::ThermalLimits& limits) const {
    // Where the card does not say at what temperature its clocks fall, the hardware's own throttle
    // stands in for it.
    std::optional<double> highest =
        limits.max_operating_c ? limits.max_operating_c : limits.slowdown_c;
    const bool wished = target_c_ && (!highest || *target_c_ < *highest);
    if (wished) highest = target_c_;
    if (!highest) return std::nullopt;
    Marks marks;
    marks.warm = *highest - kWarmBelowC;
    marks.hot = *highest - kHotBelowC;
    if (limits.slowdown_c) marks.critical = *limits.slowdown_c - kCriticalBelowC;
    marks.resume = limits.resume_c && !wished ? std::min(*limits.resume_c, marks.hot - 1)
                                              : marks.hot - kResumeBelowC;
    return marks;
}

void HeatWatch::smooth(const HeatSample& sample) {
    const std::int64_t passed = sample.at_ms - last_ms_;
    if (!smoothed_c_ || passed > kGapMs) {
        smoothed_c_ = sample.temperature_c;
    } else {
        const double weight = 1 - std::exp(-static_cast<double>(passed) / 1000 / kSmoothSeconds);
        *smoothed_c_ += (*sample.temperature_c - *smoothed_c_) * weight;
    }
    last_ms_ = sample.at_ms;
}

HeatState HeatWatch::risen(const HeatSample& sample, const Marks& marks) {
    const double now = *smoothed_c_;
    const bool critical =
        critical_.lasts(marks.critical && now >= *marks.critical, sample.at_ms, kCriticalMs);
    const bool hot =
        hot_.lasts(now >= marks.hot, sample.at_ms, kHotMs) || sample.throttled.value_or(false);
    const bool warm = warm_.lasts(now >= marks.warm, sample.at_ms, kWarmMs);
    if (critical) return HeatState::Critical;
    if (hot) return HeatState::Hot;
    return warm ? HeatState::Warm : HeatState::Cool;
}

bool HeatWatch::add(const HeatSample& sample) {
    if (sample.at_ms <= last_ms_ && smoothed_c_) return false;
    const HeatState before = state_;
    const auto marks = marks_of(sample.limits);
    if (!sample.temperature_c || !marks) {
        // A sensor that is lost is said and never blocks.
        smoothed_c_.reset();
        last_ms_ = sample.at_ms;
        warm_ = hot_ = critical_ = {};
        state_ = HeatState::Unknown;
        why_ = sample.temperature_c ? say<"heat.no_threshold">() : say<"heat.no_temperature">();
    } else {
        smooth(sample);
        const HeatState up = risen(sample, *marks);
        const bool rested = sample.at_ms - changed_ms_ >= kRestMs;
        const bool may_fall = rested && *smoothed_c_ <= marks->resume;
        // On the way down HOT and worse end only well below where they began.
        if (before < HeatState::Hot || up >= before || may_fall) state_ = up;
        Phrases slowed;
        if (sample.throttled.value_or(false)) slowed.push_back(say<"heat.slowed">());
        why_ = say<"heat.state">(*smoothed_c_, marks->hot, std::move(slowed));
    }
    if (state_ != before) changed_ms_ = sample.at_ms;
    if (state_ < HeatState::Hot)
        hot_since_ms_.reset();
    else if (!hot_since_ms_)
        hot_since_ms_ = sample.at_ms;
    return state_ != before;
}

bool HeatWatch::is_stuck(std::int64_t now_ms) const {
    return hot_since_ms_ && now_ms - *hot_since_ms_ > kStuckMs;
}

}  // namespace plimsoll::guard
