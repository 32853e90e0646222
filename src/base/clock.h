// SPDX-License-Identifier: Apache-2.0
//
// Seam: time enters through Clock, so that tests decide what time it is. Threads: implementations
// are safe from any thread.
#pragma once
#include <chrono>
#include <cstdint>

namespace plimsoll {

class Clock {
  public:
    virtual ~Clock() = default;
    // Monotonic time, for durations and deadlines.
    [[nodiscard]] virtual std::chrono::nanoseconds steady() const = 0;
    // Milliseconds since the Unix epoch, for records.
    [[nodiscard]] virtual std::int64_t unix_ms() const = 0;
};

// The machine's clocks. The reference stays valid for the program's life.
[[nodiscard]] const Clock& system_clock();

// A clock that moves only when told.
class ManualClock final : public Clock {
  public:
    [[nodiscard]] std::chrono::nanoseconds steady() const override { return now_; }
    [[nodiscard]] std::int64_t unix_ms() const override { return unix_ms_; }
    void advance(std::chrono::milliseconds by) {
        now_ += by;
        unix_ms_ += by.count();
    }

  private:
    std::chrono::nanoseconds now_{0};
    std::int64_t unix_ms_ = 1'700'000'000'000;  // chosen: any fixed moment
};

}  // namespace plimsoll
