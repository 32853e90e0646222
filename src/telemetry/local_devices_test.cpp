// SPDX-License-Identifier: Apache-2.0
//
// Goal: a hung or broken driver takes nobody else with it, and a card is matched only when it is
// sure. Method: sources that answer, hang until told, or fail.
#include "telemetry/local_devices.h"

#include "telemetry/guarded_source.h"

#include <gtest/gtest.h>

#include <chrono>
#include <condition_variable>
#include <memory>
#include <mutex>
#include <thread>

namespace plimsoll::telemetry {
namespace {

// Shared with the test: the source outlives neither its guard nor a hung call.
struct Gate {
    std::mutex mutex;
    std::condition_variable changed;
    bool shut = false;
    int asked = 0;

    void pass() {
        std::unique_lock lock(mutex);
        ++asked;
        changed.wait(lock, [&] { return !shut; });
    }
    void set(bool to_shut) {
        const std::lock_guard lock(mutex);
        shut = to_shut;
        changed.notify_all();
    }
};

class GatedSource final : public DeviceSource {
  public:
    explicit GatedSource(std::shared_ptr<Gate> gate) : gate_(std::move(gate)) {}
    [[nodiscard]] Result<std::vector<Device>> list() override {
        gate_->pass();
        return std::vector<Device>{{.id = "one", .name = "card", .driver = "none"}};
    }
    [[nodiscard]] Result<DeviceSample> sample(std::string_view, Attention) override {
        gate_->pass();
        return DeviceSample{.temperature_c = 50};
    }
    [[nodiscard]] Result<std::vector<Holder>> list_holders(std::string_view) override {
        gate_->pass();
        return std::vector<Holder>{};
    }

  private:
    std::shared_ptr<Gate> gate_;
};

TEST(GuardedSource, passes_answers_on) {
    const auto gate = std::make_shared<Gate>();
    GuardedSource source(std::make_unique<GatedSource>(gate));
    EXPECT_EQ(source.list()->size(), 1U);
    EXPECT_EQ(source.sample("one", Attention::Watching)->temperature_c, 50);
    EXPECT_TRUE(source.list_holders("one"));
}

TEST(GuardedSource, a_hung_driver_is_late_and_is_not_asked_again_until_it_answers) {
    const auto gate = std::make_shared<Gate>();
    gate->set(true);
    GuardedSource source(std::make_unique<GatedSource>(gate), std::chrono::milliseconds(20));
    const auto hung = source.sample("one", Attention::Watching);
    ASSERT_FALSE(hung);
    EXPECT_EQ(hung.error().code, Errc::Unavailable);
    EXPECT_FALSE(source.list());
    EXPECT_EQ(gate->asked, 1);
    gate->set(false);
    // The late answer is nobody's; then questions are answered again.
    const auto deadline = std::chrono::steady_clock::now() + std::chrono::seconds(10);
    bool answered = false;
    while (!answered && std::chrono::steady_clock::now() < deadline) {
        answered = source.list().has_value();
        std::this_thread::yield();
    }
    EXPECT_TRUE(answered);
}

TEST(GuardedSource, leaves_a_hung_driver_behind) {
    const auto gate = std::make_shared<Gate>();
    gate->set(true);
    {
        GuardedSource source(std::make_unique<GatedSource>(gate), std::chrono::milliseconds(20));
        EXPECT_FALSE(source.list());
    }  // returns
    gate->set(false);
}

Device make_device(const char* id, const char* name, double gib) {
    return {.id = id, .name = name, .total = Bytes::from_gib(gib), .driver = "nvidia"};
}

TEST(MatchDevice, finds_the_card_inside_torchs_name) {
    const std::vector<Device> devices{make_device("a", "NVIDIA GeForce RTX 3050 6GB Laptop GPU", 6),
                                      make_device("b", "NVIDIA GeForce RTX 3060", 12)};
    const Device* match = match_device(devices, "cuda:0 NVIDIA GeForce RTX 3060 : cudaMallocAsync",
                                       Bytes::from_gib(11.75));
    ASSERT_NE(match, nullptr);
    EXPECT_EQ(match->id, "b");
}

TEST(MatchDevice, twins_are_not_told_apart_by_guessing) {
    const std::vector<Device> devices{make_device("a", "NVIDIA GeForce RTX 3060", 12),
                                      make_device("b", "NVIDIA GeForce RTX 3060", 12)};
    EXPECT_EQ(match_device(devices, "cuda:1 NVIDIA GeForce RTX 3060", Bytes::from_gib(11.75)),
              nullptr);
}

TEST(MatchDevice, another_size_is_another_card) {
    const std::vector<Device> devices{make_device("a", "NVIDIA GeForce RTX 3060", 12)};
    EXPECT_EQ(match_device(devices, "cuda:0 NVIDIA GeForce RTX 3060", Bytes::from_gib(8)), nullptr);
    EXPECT_EQ(match_device({}, "cuda:0 NVIDIA GeForce RTX 3060", Bytes::from_gib(12)), nullptr);
}

TEST(PciAddress, reads_linux_and_nvml_form) {
    EXPECT_EQ(PciAddress::parse("00000000:01:00.0")->text(), "0000:01:00.0");
    EXPECT_EQ(PciAddress::parse("0000:C4:1f.7")->text(), "0000:c4:1f.7");
    for (const char* wrong : {"", "01:00.0", "0000:01:00", "0000:01:20.0", "0000:01:00.8",
                              "0000:0g:00.0", "000000000:01:00.0", "0000:01:00.0 "})
        EXPECT_FALSE(PciAddress::parse(wrong)) << wrong;
}

}  // namespace
}  // namespace plimsoll::telemetry
