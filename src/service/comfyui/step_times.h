// SPDX-License-Identifier: Apache-2.0
//
// StepTimes: what a node's steps take all together, by when they were told. What comes before the
// first one (loading, tuning of kernels) is left out: that is why the pace of a card is learned
// from this and not from the whole node.
//
// Enters through: progress of one node, with its time.   Leaves through: seconds.   Threads: one at
// a time.
#pragma once
#include <optional>

namespace plimsoll::service {

class StepTimes {
  public:
    // `value` of `max` steps are done. ComfyUI tells of a step twice: it counts where `value`
    // rises.
    void add(double at_seconds, double value, double max) {
        if (!(max > 0) || !(value >= 1 && value <= max)) return;
        if (!begun_) {
            begun_ = true;
            max_ = max;
            first_ = last_ = {at_seconds, value};
            return;
        }
        // A second bar in one node (a sampler that is called again): one pace is not the other's.
        if (max != max_ || value < last_.value) several_ = true;
        if (value > last_.value) last_ = {at_seconds, value};
    }

    // Of all `max` steps, at the pace of those between the first and the last that were told;
    // nullopt below kBetweenMin of them.
    [[nodiscard]] std::optional<double> all_seconds() const {
        const double between = last_.value - first_.value;
        if (!begun_ || several_ || between < kBetweenMin) return std::nullopt;
        return (last_.at - first_.at) / between * max_;
    }

  private:
    static constexpr double kBetweenMin = 3;  // chosen: one odd step is not half of them
    struct Told {
        double at = 0;
        double value = 0;
    };
    bool begun_ = false;
    bool several_ = false;
    double max_ = 0;
    Told first_;
    Told last_;
};

}  // namespace plimsoll::service
