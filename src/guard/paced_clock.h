// SPDX-License-Identifier: Apache-2.0
//
// PacedClock: the time in which the card lives. A simulated card may be faster than ours: what it
// needs, and how it heats up and cools, is counted in its own seconds. A real card's pace is 1.
//
// Enters through: Clock.   Leaves through: Clock.   Threads: any.
#pragma once
#include "base/clock.h"

#include <cmath>
#include <mutex>

namespace plimsoll::guard {

class PacedClock final : public Clock {
  public:
    // `real` outlives it.
    explicit PacedClock(const Clock& real)
        : real_(real), steady_(real.steady()), unix_ms_(real.unix_ms()), since_(steady_) {}

    // Times as fast as the other from now on; what has passed stays as it was.
    void set_pace(double pace) {
        const std::lock_guard lock(mutex_);
        if (!(pace > 0) || !std::isfinite(pace) || pace == pace_) return;
        const auto passed = passed_since_change();
        steady_ += passed;
        unix_ms_ += in_ms(passed);
        since_ = real_.steady();
        pace_ = pace;
    }
    [[nodiscard]] double pace() const {
        const std::lock_guard lock(mutex_);
        return pace_;
    }
    [[nodiscard]] std::chrono::nanoseconds steady() const override {
        const std::lock_guard lock(mutex_);
        return steady_ + passed_since_change();
    }
    // Goes on from the other's date at the beginning.
    [[nodiscard]] std::int64_t unix_ms() const override {
        const std::lock_guard lock(mutex_);
        return unix_ms_ + in_ms(passed_since_change());
    }

  private:
    [[nodiscard]] std::chrono::nanoseconds passed_since_change() const {
        const auto passed = static_cast<double>((real_.steady() - since_).count());
        return std::chrono::nanoseconds(static_cast<std::int64_t>(passed * pace_));
    }
    [[nodiscard]] static std::int64_t in_ms(std::chrono::nanoseconds time) {
        return std::chrono::duration_cast<std::chrono::milliseconds>(time).count();
    }

    const Clock& real_;
    mutable std::mutex mutex_;
    std::chrono::nanoseconds steady_;
    std::int64_t unix_ms_;
    std::chrono::nanoseconds since_;  // of the other
    double pace_ = 1;
};

}  // namespace plimsoll::guard
