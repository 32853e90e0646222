// SPDX-License-Identifier: Apache-2.0
//
// Goal: the card's time runs at its pace and never jumps. Method: the other clock moves when told.
#include "guard/paced_clock.h"

#include <gtest/gtest.h>

#include <limits>

namespace plimsoll::guard {
namespace {

using std::chrono::milliseconds;

TEST(PacedClock, runs_at_its_pace_and_keeps_what_has_passed) {
    ManualClock real;
    PacedClock card(real);
    const std::int64_t began = card.unix_ms();
    EXPECT_EQ(began, real.unix_ms());
    real.advance(milliseconds(100));
    EXPECT_EQ(card.unix_ms() - began, 100);
    card.set_pace(60);
    EXPECT_EQ(card.unix_ms() - began, 100);
    real.advance(milliseconds(100));
    EXPECT_EQ(card.unix_ms() - began, 6'100);
    card.set_pace(1);
    real.advance(milliseconds(100));
    EXPECT_EQ(card.unix_ms() - began, 6'200);
    EXPECT_EQ(card.steady() - real.steady(), milliseconds(5'900));
}

TEST(PacedClock, a_pace_that_is_none_changes_nothing) {
    ManualClock real;
    PacedClock card(real);
    for (const double pace : {0.0, -1.0, std::numeric_limits<double>::infinity(),
                              std::numeric_limits<double>::quiet_NaN()})
        card.set_pace(pace);
    EXPECT_EQ(card.pace(), 1);
}

}  // namespace
}  // namespace plimsoll::guard
