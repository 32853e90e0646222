// SPDX-License-Identifier: Apache-2.0
//
// Goal: the daemon tells what the driver tells of ComfyUI's own card, at the price agreed on.
// Method: a source with scripted cards that counts questions, and a clock that moves when told.
#include "service/local_card.h"

#include "service/scripted_devices.h"

#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using telemetry::Attention;
using telemetry::DeviceState;

class LocalCardTest : public ::testing::Test {
  protected:
    CardLook look(Attention attention = Attention::Watching) {
        return card_.look(device_, attention);
    }
    ScriptedDevices source_;
    ManualClock clock_;
    LocalCard card_{source_, clock_};
    DeviceStats device_{.name = "cuda:0 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
                        .type = "cuda",
                        .vram_total = Bytes::from_gib(11.76),
                        .vram_free = {},
                        .torch_total = {},
                        .torch_free = {}};
};

TEST_F(LocalCardTest, tells_the_heat_the_limits_and_the_holders_of_comfyuis_card) {
    const CardLook got = look();
    EXPECT_EQ(got.state, DeviceState::Awake);
    EXPECT_EQ(got.heat.temperature_c, 66);
    EXPECT_EQ(got.heat.throttled, false);
    EXPECT_EQ(got.limits.slowdown_c, 98);
    ASSERT_EQ(got.holders.size(), 1U);
    EXPECT_EQ(got.holders[0].name, "python3");
}

TEST_F(LocalCardTest, asks_for_dear_things_seldom) {
    for (int second = 0; second < 60; ++second) {
        EXPECT_EQ(look().holders.size(), 1U);
        clock_.advance(std::chrono::seconds(1));
    }
    EXPECT_EQ(source_.lists, 1);
    EXPECT_EQ(source_.holder_lists, 12);
}

TEST_F(LocalCardTest, asks_nobody_for_holders_while_nothing_runs) {
    EXPECT_TRUE(look(Attention::Resting).holders.empty());
    EXPECT_EQ(source_.holder_lists, 0);
}

TEST_F(LocalCardTest, a_card_that_no_driver_here_knows_is_not_told_about) {
    device_.name = "cuda:0 NVIDIA GeForce RTX 4090";
    const CardLook got = look();
    EXPECT_EQ(got.state, std::nullopt);
    EXPECT_EQ(got.heat.temperature_c, std::nullopt);
}

TEST_F(LocalCardTest, a_card_that_falls_asleep_is_still_the_same) {
    // AMD's driver does not know the trade name, and a sleeping card is not asked for its size.
    source_.devices[0].name = "AMD card at 0000:03:00.0";
    source_.devices[0].vendor = telemetry::Vendor::Amd;
    EXPECT_EQ(look().state, DeviceState::Awake);
    source_.devices[0].total.reset();
    source_.current = {.state = DeviceState::Asleep};
    clock_.advance(std::chrono::seconds(61));
    EXPECT_EQ(look().state, DeviceState::Asleep);
    EXPECT_EQ(source_.lists, 2);
    // Another card of ComfyUI's is looked for anew.
    device_.name = "cuda:0 AMD Radeon RX 7600";
    EXPECT_EQ(look().state, std::nullopt);
}

TEST_F(LocalCardTest, a_cpu_has_no_card) {
    device_.type = "cpu";
    EXPECT_EQ(look().state, std::nullopt);
    EXPECT_EQ(source_.lists, 0);
}

TEST_F(LocalCardTest, a_driver_in_trouble_is_a_sick_card_until_it_answers_again) {
    source_.trouble = "the driver does not answer";
    EXPECT_EQ(look().state, DeviceState::Sick);
    EXPECT_EQ(look().why, "the driver does not answer");
    source_.trouble.clear();
    clock_.advance(std::chrono::seconds(60));
    EXPECT_EQ(look().heat.temperature_c, 66);
    source_.trouble = "the card fell off the bus";
    EXPECT_EQ(look().why, "the card fell off the bus");
    source_.trouble.clear();
    EXPECT_EQ(look().state, DeviceState::Awake);  // found anew at once
}

}  // namespace
}  // namespace plimsoll::service
