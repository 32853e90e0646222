// SPDX-License-Identifier: Apache-2.0
//
// Simulated time: what the card would take, run through at a chosen speed. One clock for a card.
//
// Threads: `spend` on the executing thread; the rest from any.
#pragma once
#include "base/random.h"
#include "simulator/card/physics.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <functional>
#include <mutex>
#include <optional>

namespace plimsoll::simulator {

class Pace {
  public:
    // `speed`: simulated seconds a real second; 0: no waiting at all.
    Pace(double speed, Heat& heat, std::uint64_t seed);

    // Lets time pass while the card works. Longer on a throttled card, and never twice the same.
    // False when `stop` was called: the caller gives up at once.
    [[nodiscard]] bool spend(double seconds, double utilization);
    // Time that does not depend on the card: disk, host.
    [[nodiscard]] bool wait(double seconds);
    // From now on simulated time stands still but for `seconds`, which replace what is left of an
    // earlier grant; nullopt: it passes freely again.
    void grant(std::optional<double> seconds);
    void stop();
    [[nodiscard]] bool stopped() const { return stopped_; }
    // The card's work takes so many times as long from now on.
    void set_drag(double drag) { drag_ = drag; }
    // Simulated seconds spent since the start.
    [[nodiscard]] double now() const { return now_; }
    [[nodiscard]] double speed() const { return speed_; }
    // Cools the card for the real time that passed since it last worked.
    void rest();
    // Called from spend with the simulated time, for things that happen at a moment.
    std::function<void(double)> on_tick;

  private:
    [[nodiscard]] bool pass(double seconds, double utilization);
    // The next part of `seconds` that may pass, after the real time that it takes.
    [[nodiscard]] double await_piece(double seconds);

    double speed_;
    Heat& heat_;
    Random noise_;
    std::atomic<double> now_ = 0;
    std::atomic<double> drag_ = 1;
    std::atomic<bool> stopped_ = false;
    std::mutex mutex_;
    std::condition_variable wake_;
    std::optional<double> granted_;
    std::chrono::steady_clock::time_point rested_ = std::chrono::steady_clock::now();
};

}  // namespace plimsoll::simulator
