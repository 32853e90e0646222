// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/pace.h"

#include <algorithm>

namespace plimsoll::simulator {

namespace {
using Clock = std::chrono::steady_clock;
constexpr double kSliceS = 0.05;     // real time between two looks at the heat and at the world
constexpr double kStepNoise = 0.02;  // relative, of the time of one piece of work; chosen
}  // namespace

Pace::Pace(double speed, Heat& heat, std::uint64_t seed)
    : speed_(speed), heat_(heat), noise_(seed ^ 0x7A63ULL) {}

bool Pace::spend(double seconds, double utilization) {
    const double noise = std::clamp(1 + kStepNoise * noise_.next_normal(), 0.9, 1.15);
    return pass(seconds * noise * drag_ / heat_.clock_share(), utilization);
}

bool Pace::wait(double seconds) {
    return pass(seconds, 0);
}

double Pace::await_piece(double seconds) {
    std::unique_lock lock(mutex_);
    wake_.wait(lock, [&] { return stopped_ || granted_.value_or(seconds) > 0; });
    double piece = granted_ ? std::min(seconds, *granted_) : seconds;
    if (speed_ > 0) {
        piece = std::min(piece, kSliceS * speed_);
        wake_.wait_for(lock, std::chrono::duration<double>(piece / speed_),
                       [&] { return stopped_.load(); });
    }
    if (granted_) *granted_ = std::max(0.0, *granted_ - piece);
    return piece;
}

void Pace::grant(std::optional<double> seconds) {
    {
        const std::lock_guard lock(mutex_);
        granted_ = seconds;
    }
    wake_.notify_all();
}

bool Pace::pass(double seconds, double utilization) {
    while (seconds > 0 && !stopped_) {
        const double piece = await_piece(seconds);
        seconds -= piece;
        now_ = now_ + piece;
        heat_.advance(piece, utilization);
        if (on_tick) on_tick(now_);
    }
    const std::lock_guard lock(mutex_);
    rested_ = Clock::now();
    return !stopped_;
}

void Pace::rest() {
    const std::lock_guard lock(mutex_);
    const auto now = Clock::now();
    const double idle = std::chrono::duration<double>(now - rested_).count();
    // Less than this is the gap between two pieces of work, not a rest.
    if (idle < 2 * kSliceS) return;
    rested_ = now;
    heat_.advance(idle * std::max(1.0, speed_), 0);
}

void Pace::stop() {
    {
        const std::lock_guard lock(mutex_);
        stopped_ = true;
    }
    wake_.notify_all();
}

}  // namespace plimsoll::simulator
