// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/physics.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::simulator {

namespace {

constexpr double kLaunchSeconds = 7e-6;  // as in tools/make_simulator_data.py: fitted there
// GB/s and lane of each PCIe generation, one direction, after encoding.
constexpr double kPcieLaneGbs[] = {0, 0.25, 0.5, 0.985, 1.969, 3.938};
// ComfyUI 0.3.64 copies from pageable memory: the driver stages it, which costs about half. Chosen.
constexpr double kPageableShare = 0.45;

constexpr double kLimitC = 83;  // GeForce cards hold this by default
// Between those that cards tell (reference: 89/97/100 and 87 on laptops); chosen.
constexpr double kSlowdownC = 93;
constexpr double kShutdownC = 98;
constexpr double kTimeConstantS = 70;  // of heat sink and board together; chosen
constexpr double kRiseC = 45;          // above the air, at full power for ever; chosen
constexpr double kIdleShare = 0.12;    // of the full power
constexpr double kClockStep = 0.035;   // of clock lost for each degree above the limit
constexpr double kClockFloor = 0.45;

}  // namespace

CardSpeed::CardSpeed(const CardSpec& card)
    : flops_per_second_(card.peak_tflops * card.reached * 1e12),
      pcie_bytes_per_second_(kPcieLaneGbs[std::clamp(card.pcie_gen, 1, 5)] * card.pcie_lanes * 1e9 *
                             kPageableShare) {}

double CardSpeed::seconds(const Work& work) const {
    return work.flops / flops_per_second_ + work.kernels * kLaunchSeconds +
           upload_seconds(work.pcie_bytes);
}

double CardSpeed::upload_seconds(std::int64_t bytes) const {
    return static_cast<double>(bytes) / pcie_bytes_per_second_;
}

Heat::Heat(double tdp_w, double ambient_c) : tdp_w_(tdp_w), ambient_c_(ambient_c), rise_c_(kRiseC) {
    now_ = {.temperature_c = ambient_c + kRiseC * kIdleShare,
            .power_w = tdp_w * kIdleShare,
            .clock_share = 1,
            .utilization = 0,
            .limit_c = kLimitC,
            .slowdown_c = kSlowdownC,
            .shutdown_c = kShutdownC};
}

void Heat::set_ambient(double ambient_c) {
    const std::lock_guard lock(mutex_);
    ambient_c_ = ambient_c;
}

void Heat::set_rise(std::optional<double> rise_c) {
    const std::lock_guard lock(mutex_);
    rise_c_ = rise_c.value_or(kRiseC);
}

void Heat::advance(double seconds, double utilization) {
    const std::lock_guard lock(mutex_);
    // In pieces much shorter than the time constant, so that the clock can react.
    while (seconds > 0) {
        const double piece = std::min(seconds, 2.0);
        seconds -= piece;
        const double full = tdp_w_ * (kIdleShare + (1 - kIdleShare) * utilization);
        now_.power_w = full * std::pow(now_.clock_share, 2);  // voltage falls with the clock
        const double target = ambient_c_ + rise_c_ * now_.power_w / tdp_w_;
        now_.temperature_c +=
            (target - now_.temperature_c) * (1 - std::exp(-piece / kTimeConstantS));
        const double over = std::max(0.0, now_.temperature_c - kLimitC);
        now_.clock_share = std::clamp(1 - kClockStep * over, kClockFloor, 1.0);
    }
    now_.utilization = utilization;
}

HeatReading Heat::read() const {
    const std::lock_guard lock(mutex_);
    return now_;
}

}  // namespace plimsoll::simulator
