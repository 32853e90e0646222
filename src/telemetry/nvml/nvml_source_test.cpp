// SPDX-License-Identifier: Apache-2.0
//
// Goal: what NVML says is told rightly, and a sleeping card is let sleep. Method: a fake library
// opened as NVIDIA's would be, and a captured /sys that says who sleeps.
#include "telemetry/nvml/nvml_source.h"

#include "fake_nvml.h"
#include "telemetry/captured_tree.h"

#include <dlfcn.h>

#include <gtest/gtest.h>

#include <memory>

namespace plimsoll::telemetry {
namespace {

constexpr const char* kAt = "0000:01:00.0";

class NvmlSourceTest : public ::testing::Test {
  protected:
    void SetUp() override {
        void* const library = dlopen(PLIMSOLL_FAKE_NVML, RTLD_NOW);
        ASSERT_NE(library, nullptr) << dlerror();
        auto* const find = reinterpret_cast<FakeNvml* (*)()>(dlsym(library, "fake_nvml_state"));
        ASSERT_NE(find, nullptr);
        nvml_ = find();
        *nvml_ = FakeNvml{};
        power_ = tree_.add_display(kAt, "0x10de", "nvidia") / "power";
        source_ = std::make_unique<NvmlSource>(tree_.tree(), PLIMSOLL_FAKE_NVML);
    }

    DeviceSample sample(Attention attention = Attention::Watching) {
        auto sample = source_->sample(kAt, attention);
        EXPECT_TRUE(sample) << sample.error().message;
        return sample.value_or(DeviceSample{});
    }
    void fall_asleep() const {
        tree_.write(power_ / "control", "auto");
        tree_.write(power_ / "runtime_status", "suspended");
    }

    CapturedTree tree_;
    std::filesystem::path power_;
    FakeNvml* nvml_ = nullptr;
    std::unique_ptr<NvmlSource> source_;
};

TEST_F(NvmlSourceTest, lists_the_card_with_its_own_thresholds) {
    const auto devices = source_->list();
    ASSERT_TRUE(devices) << devices.error().message;
    ASSERT_EQ(devices->size(), 1U);
    const Device& device = devices->front();
    EXPECT_EQ(device.name, "NVIDIA GeForce RTX 3050 6GB Laptop GPU");
    EXPECT_EQ(device.id, "GPU-6f2c1a52-0000-0000-0000-000000000001");
    EXPECT_EQ(device.pci.text(), kAt);
    EXPECT_EQ(device.total, Bytes(6441926656));
    EXPECT_EQ(device.driver, "nvidia 570.86.10");
    const ThermalLimits expected{
        .target_c = 75, .max_operating_c = 87, .slowdown_c = 102, .shutdown_c = 105};
    EXPECT_EQ(device.limits, expected);
}

TEST_F(NvmlSourceTest, tells_memory_without_the_drivers_part_as_used) {
    const DeviceSample got = sample();
    EXPECT_EQ(got.total, Bytes(6441926656));
    EXPECT_EQ(got.used, Bytes(1073741824));
    EXPECT_EQ(got.reserved, Bytes(268435456));
}

TEST_F(NvmlSourceTest, falls_back_to_the_old_memory_call_and_remembers) {
    nvml_->memory_v2 = false;
    EXPECT_EQ(sample().used, Bytes(1073741824 + 268435456));
    const int calls = nvml_->calls;
    EXPECT_EQ(sample().reserved, std::nullopt);
    const int again = nvml_->calls - calls;
    EXPECT_EQ(sample().used, Bytes(1073741824 + 268435456));
    EXPECT_EQ(nvml_->calls - calls, 2 * again);  // the refused call is not tried anew
}

TEST_F(NvmlSourceTest, a_power_cap_is_no_heat) {
    DeviceSample got = sample();
    EXPECT_EQ(got.throttled_by_heat, false);
    EXPECT_EQ(got.throttled_by_power, true);
    nvml_->cards[0].reasons = 0x40;
    got = sample();
    EXPECT_EQ(got.throttled_by_heat, true);
    EXPECT_EQ(got.throttled_by_power, false);
}

TEST_F(NvmlSourceTest, reads_load_and_heat) {
    const DeviceSample got = sample();
    EXPECT_EQ(got.temperature_c, 61);
    EXPECT_EQ(got.memory_temperature_c, std::nullopt);  // GeForce has no such sensor
    EXPECT_EQ(got.power_watts, 55);
    EXPECT_EQ(got.power_limit_watts, 70);
    EXPECT_EQ(got.clock_mhz, 1470);
    EXPECT_EQ(got.memory_clock_mhz, std::nullopt);
    EXPECT_EQ(got.utilization, 0.97);
}

TEST_F(NvmlSourceTest, a_power_of_593_watts_on_a_laptop_is_not_told) {
    nvml_->cards[0].power_mw = 593000;
    EXPECT_EQ(sample().power_watts, std::nullopt);
}

TEST_F(NvmlSourceTest, thresholds_of_newer_cards_come_from_their_margins) {
    FakeNvmlCard& card = nvml_->cards[0];
    card.thresholds = {0, 0, 0, 87, 0, 0, 0, 0};
    card.margins = {-8, -2, 0};  // as an L40S publishes them
    const auto devices = source_->list();
    ASSERT_TRUE(devices);
    EXPECT_EQ(devices->front().limits.slowdown_c, 89);
    EXPECT_EQ(devices->front().limits.shutdown_c, 95);
}

TEST_F(NvmlSourceTest, a_lost_card_is_sick_with_what_to_do) {
    ASSERT_TRUE(source_->list());
    nvml_->cards[0].code = static_cast<int>(NvmlCode::GpuIsLost);
    const DeviceSample got = sample();
    EXPECT_EQ(got.state, DeviceState::Sick);
    EXPECT_EQ(got.why, "the driver lost the card: GPU is lost (15); restart the machine");
}

TEST_F(NvmlSourceTest, a_sleeping_card_is_not_asked_at_all) {
    fall_asleep();
    const auto devices = source_->list();
    ASSERT_TRUE(devices);
    EXPECT_EQ(devices->size(), 1U);
    EXPECT_EQ(sample().state, DeviceState::Asleep);
    EXPECT_EQ(sample(Attention::Resting).state, DeviceState::Asleep);
    const auto holders = source_->list_holders(kAt);
    ASSERT_TRUE(holders);
    EXPECT_TRUE(holders->empty());
    EXPECT_EQ(nvml_->inits, 0);
    EXPECT_EQ(nvml_->calls, 0);
}

TEST_F(NvmlSourceTest, lets_a_laptops_card_go_when_nothing_runs) {
    tree_.write(power_ / "control", "auto");
    EXPECT_EQ(sample(Attention::Watching).temperature_c, 61);
    const DeviceSample resting = sample(Attention::Resting);
    EXPECT_EQ(resting.state, DeviceState::Awake);
    EXPECT_EQ(resting.temperature_c, std::nullopt);
    EXPECT_EQ(nvml_->shutdowns, 1);  // the session that would keep it awake
    fall_asleep();
    const int calls = nvml_->calls;
    const auto devices = source_->list();
    ASSERT_TRUE(devices);
    EXPECT_EQ(devices->front().name, "NVIDIA GeForce RTX 3050 6GB Laptop GPU");  // remembered
    EXPECT_EQ(nvml_->calls, calls);
}

TEST_F(NvmlSourceTest, a_desktops_card_is_watched_while_resting_too) {
    EXPECT_EQ(sample(Attention::Resting).temperature_c, 61);
}

TEST_F(NvmlSourceTest, names_who_holds_the_memory) {
    tree_.write("proc/4242/comm", "python3\n");
    FakeNvmlCard& card = nvml_->cards[0];
    card.processes = {{{.pid = 77, .used_bytes = 1000},
                       {.pid = 4242, .used_bytes = 5000000},
                       {.pid = 88, .used_bytes = kNvmlNotAvailable},
                       {.pid = 99, .used_bytes = std::uint64_t{1} << 60}}};
    card.process_count = 4;
    ASSERT_TRUE(source_->list());
    const auto holders = source_->list_holders(kAt);
    ASSERT_TRUE(holders) << holders.error().message;
    ASSERT_EQ(holders->size(), 3U);  // one more claims more than the card has: a garbled record
    EXPECT_EQ(holders->at(0).name, "python3");
    EXPECT_EQ(holders->at(0).bytes, Bytes(5000000));
    EXPECT_EQ(holders->at(1).pid, 77);
    EXPECT_EQ(holders->at(2).bytes, std::nullopt);
}

TEST_F(NvmlSourceTest, an_updated_driver_without_a_restart_says_so) {
    nvml_->init_code = static_cast<int>(NvmlCode::LibraryMismatch);
    const auto devices = source_->list();
    ASSERT_FALSE(devices);
    EXPECT_EQ(devices.error().code, Errc::Unavailable);
    EXPECT_TRUE(devices.error().message.contains("restart the machine"));
    nvml_->init_code = 0;  // it may come back without a restart of ours
    EXPECT_TRUE(source_->list());
}

TEST_F(NvmlSourceTest, no_card_of_that_name_is_not_found) {
    const auto sample = source_->sample("GPU-none", Attention::Watching);
    ASSERT_FALSE(sample);
    EXPECT_EQ(sample.error().code, Errc::NotFound);
}

TEST(NvmlSource, a_machine_without_nvidia_has_no_such_cards) {
    const CapturedTree tree;
    NvmlSource source(tree.tree(), tree.root() / "libnvidia-ml.so.1");
    const auto devices = source.list();
    ASSERT_TRUE(devices);
    EXPECT_TRUE(devices->empty());
}

TEST(NvmlSource, a_card_without_its_driver_is_an_error_with_a_reason) {
    const CapturedTree tree;
    (void)tree.add_display(kAt, "0x10de", "nouveau");
    NvmlSource source(tree.tree(), tree.root() / "libnvidia-ml.so.1");
    const auto devices = source.list();
    ASSERT_FALSE(devices);
    EXPECT_TRUE(devices.error().message.contains("no NVIDIA driver is here"));
}

}  // namespace
}  // namespace plimsoll::telemetry
