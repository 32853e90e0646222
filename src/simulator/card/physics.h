// SPDX-License-Identifier: Apache-2.0
//
// Time and heat of the simulated card.
//
// A forward takes its recorded floating-point operations at the share of the published throughput
// that the nearest measured card reached, plus a fixed time for each kernel launch, plus streamed
// weights over PCIe. Heat follows power with one time constant; above its limit the card lowers its
// clock, and everything on it takes longer.
//
// Threads: Heat is read by HTTP while the executing thread advances it; the rest is immutable.
#pragma once
#include "simulator/card/recorded.h"

#include <cstdint>
#include <mutex>
#include <optional>

namespace plimsoll::simulator {

struct Work {
    double flops = 0;
    double kernels = 0;
    std::int64_t pcie_bytes = 0;
};

class CardSpeed {
  public:
    explicit CardSpeed(const CardSpec& card);
    // Seconds at full clock. `share` scales the throughput: VAE convolutions reach less.
    [[nodiscard]] double seconds(const Work& work) const;
    [[nodiscard]] double upload_seconds(std::int64_t bytes) const;
    [[nodiscard]] double pcie_bytes_per_second() const { return pcie_bytes_per_second_; }

  private:
    double flops_per_second_;
    double pcie_bytes_per_second_;
};

struct HeatReading {
    double temperature_c = 0;
    double power_w = 0;
    double clock_share = 1;  // of the boost clock
    double utilization = 0;  // 0 to 1
    double limit_c = 0;      // above it the clock falls
    double slowdown_c = 0;   // the hardware throttles
    double shutdown_c = 0;
};

class Heat {
  public:
    // `ambient_c`: of the air that the card gets.
    Heat(double tdp_w, double ambient_c);
    // Lets simulated time pass at a utilization.
    void advance(double seconds, double utilization);
    // A fan that fails, a summer's day: the air that the card gets from now on.
    void set_ambient(double ambient_c);
    // A fan that stands still: degrees above the air, at full power for ever; nullopt: it turns.
    void set_rise(std::optional<double> rise_c);
    [[nodiscard]] HeatReading read() const;
    [[nodiscard]] double clock_share() const { return read().clock_share; }

  private:
    mutable std::mutex mutex_;
    double tdp_w_;
    double ambient_c_;
    double rise_c_;
    HeatReading now_;
};

}  // namespace plimsoll::simulator
