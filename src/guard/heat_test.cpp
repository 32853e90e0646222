// SPDX-License-Identifier: Apache-2.0
//
// Goal: heat holds jobs back in time and lets them go again, and a card without a sensor never
// blocks. Method: temperatures written down second by second. The thresholds are an RTX 2080
// Super's: 89 operating, 97 slowdown, 100 shutdown (reference/telemetry-fleet.md A6).
#include "guard/heat.h"

#include <gtest/gtest.h>

namespace plimsoll::guard {
namespace {

constexpr telemetry::ThermalLimits kCard{
    .target_c = 84, .max_operating_c = 89, .slowdown_c = 97, .shutdown_c = 100};

class Heating : public testing::Test {
  protected:
    // One sample a second.
    void hold(double celsius, int seconds, std::optional<bool> throttled = false) {
        for (int i = 0; i < seconds; ++i) {
            now_ += 1000;
            (void)watch_.add({.at_ms = now_,
                              .temperature_c = celsius,
                              .throttled = throttled,
                              .limits = limits_});
        }
    }
    std::int64_t now_ = 1'000'000;
    telemetry::ThermalLimits limits_ = kCard;
    HeatWatch watch_;
};

TEST_F(Heating, a_peak_of_a_moment_changes_nothing) {
    hold(70, 20);
    hold(95, 2);
    EXPECT_EQ(watch_.state(), HeatState::Cool);
}

TEST_F(Heating, warm_then_hot_then_critical_as_the_temperature_stays) {
    hold(70, 20);
    hold(85, 40);
    EXPECT_EQ(watch_.state(), HeatState::Warm);
    EXPECT_EQ(gate_of(watch_.state()), HeatGate::LightOnly);
    hold(90, 40);
    EXPECT_EQ(watch_.state(), HeatState::Hot);
    EXPECT_EQ(gate_of(watch_.state()), HeatGate::Nobody);
    hold(98, 40);
    EXPECT_EQ(watch_.state(), HeatState::Critical);
}

TEST_F(Heating, hot_ends_only_well_below_and_after_a_rest) {
    hold(92, 40);
    ASSERT_EQ(watch_.state(), HeatState::Hot);
    hold(82, 120);  // below HOT, above the 80 where it may resume
    EXPECT_EQ(watch_.state(), HeatState::Hot);
    hold(70, 10);
    EXPECT_EQ(watch_.state(), HeatState::Cool);
    // A fall within the rest is not believed.
    hold(92, 40);
    ASSERT_EQ(watch_.state(), HeatState::Hot);
}

TEST_F(Heating, a_card_that_slows_itself_down_is_hot_at_once) {
    hold(80, 10);
    hold(80, 1, true);
    EXPECT_EQ(watch_.state(), HeatState::Hot);
    EXPECT_TRUE(watch_.why().message().contains("slows itself down"));
}

TEST_F(Heating, what_is_not_told_never_blocks) {
    limits_ = {};
    hold(99, 60);
    EXPECT_EQ(watch_.state(), HeatState::Unknown);
    EXPECT_EQ(gate_of(watch_.state()), HeatGate::All);
    // A sensor that is lost while it is hot.
    limits_ = kCard;
    hold(92, 40);
    ASSERT_EQ(watch_.state(), HeatState::Hot);
    now_ += 1000;
    EXPECT_TRUE(watch_.add({.at_ms = now_, .limits = kCard}));
    EXPECT_EQ(watch_.state(), HeatState::Unknown);
}

TEST_F(Heating, a_target_for_quiet_nights_takes_the_thresholds_place) {
    watch_ = HeatWatch(65);
    hold(66, 40);
    EXPECT_EQ(watch_.state(), HeatState::Hot);
    // Above the card's own it changes nothing.
    watch_ = HeatWatch(120);
    hold(85, 40);
    EXPECT_EQ(watch_.state(), HeatState::Warm);
}

TEST_F(Heating, a_card_that_stays_hot_for_a_quarter_of_an_hour_is_stuck) {
    hold(92, 60);
    EXPECT_FALSE(watch_.is_stuck(now_));
    hold(92, 15 * 60);
    EXPECT_TRUE(watch_.is_stuck(now_));
}

}  // namespace
}  // namespace plimsoll::guard
