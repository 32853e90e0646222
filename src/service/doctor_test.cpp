// SPDX-License-Identifier: Apache-2.0
//
// Goal: each problem is found and comes with what to do. Method: a scripted ComfyUI, folders made
// here.
#include "service/doctor.h"

#include "service/comfyui/scripted_upstream.h"
#include "service/scripted_devices.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <fstream>

namespace plimsoll::service {
namespace {

using testing::AllOf;
using testing::Contains;
using testing::Field;
using testing::HasSubstr;
using testing::Not;

auto finding(const char* area, Health health, const char* text) {
    return AllOf(Field(&Finding::area, area), Field(&Finding::health, health),
                 Field(&Finding::text, HasSubstr(text)));
}

class DoctorTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_doctor_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        config_.home.value = folder_;
        config_.output_dir.value = folder_ / "output";
        upstream_.models["checkpoints"] = {"sd_xl_base_1.0.safetensors"};
        upstream_.sockets = {{}};
        upstream_.stats = [this]() -> Result<ServerStats> { return stats_; };
        stats_.comfyui_version = "0.3.64";
        stats_.argv = {"main.py"};
        stats_.devices = {{.name = "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync",
                           .type = "cuda",
                           .vram_total = Bytes::from_mib(5898),
                           .vram_free = Bytes::from_mib(5500),
                           .torch_total = Bytes(0),
                           .torch_free = Bytes(0)}};
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }
    Checkup look() { return check_up(config_, upstream_, devices_); }

    ManualClock clock_;
    ScriptedUpstream upstream_{clock_};
    ServerStats stats_;
    Config config_;
    ScriptedDevices devices_;
    std::filesystem::path folder_;
};

TEST_F(DoctorTest, a_healthy_server_has_no_problem) {
    const Checkup checkup = look();
    EXPECT_TRUE(checkup.comfyui_answers);
    EXPECT_NE(checkup.worst(), Health::Problem);
    EXPECT_THAT(checkup.findings, Contains(finding("card", Health::Good, "rtx3050-6gb")));
    EXPECT_THAT(checkup.findings, Not(Contains(Field(&Finding::text, HasSubstr("WebSocket")))));
}

TEST_F(DoctorTest, what_is_not_good_has_advice) {
    stats_.comfyui_version = "0.2.1";
    stats_.argv = {"main.py", "--normalvram", "--lowvram", "--highvram"};
    stats_.devices[0].name = "cuda:0 Imaginary 9000";
    upstream_.sockets.clear();
    upstream_.models["checkpoints"] = {};
    config_.models_dirs.value = {folder_ / "nowhere"};
    std::ofstream(folder_ / "history.db") << "not a database, whatever its name";
    const Checkup checkup = look();
    for (const Finding& one : checkup.findings)
        EXPECT_EQ(one.advice.empty(), one.health == Health::Good)
            << one.area << ": " << one.text.message();
    EXPECT_THAT(checkup.findings,
                Contains(finding("ComfyUI", Health::Notice, "older than 0.3.64")));
    EXPECT_THAT(checkup.findings, Contains(finding("ComfyUI", Health::Notice, "WebSocket")));
    EXPECT_THAT(checkup.findings, Contains(finding("flags", Health::Notice, "--normalvram")));
    EXPECT_THAT(checkup.findings, Contains(finding("flags", Health::Problem, "--highvram")));
    EXPECT_THAT(checkup.findings, Contains(finding("card", Health::Notice, "Imaginary 9000")));
    EXPECT_THAT(checkup.findings, Contains(finding("models", Health::Problem, "no checkpoint")));
    EXPECT_THAT(checkup.findings, Contains(finding("models", Health::Problem, "not a folder")));
    EXPECT_THAT(checkup.findings, Contains(finding("history", Health::Problem, "history.db")));
}

TEST_F(DoctorTest, without_comfyui_the_rest_is_looked_at) {
    upstream_.stats = []() -> Result<ServerStats> {
        return fail(Errc::Unavailable, "connection refused");
    };
    devices_.devices[0].driver = "nvidia 550.54.14";
    const Checkup checkup = look();
    EXPECT_FALSE(checkup.comfyui_answers);
    EXPECT_THAT(checkup.findings, Contains(finding("ComfyUI", Health::Problem, "refused")));
    EXPECT_THAT(checkup.findings, Contains(finding("driver", Health::Good, "550.54.14")));
    EXPECT_THAT(checkup.findings, Contains(finding("history", Health::Good, "0 runs")));
}

TEST_F(DoctorTest, a_driver_in_trouble_is_a_problem) {
    devices_.trouble = "the NVIDIA driver does not answer: driver is not loaded (9)";
    EXPECT_THAT(look().findings, Contains(finding("driver", Health::Problem, "not loaded")));
}

TEST_F(DoctorTest, a_lost_card_is_a_problem) {
    devices_.current = {.state = telemetry::DeviceState::Sick, .why = "the driver lost the card"};
    EXPECT_THAT(look().findings, Contains(finding("driver", Health::Problem, "lost the card")));
}

TEST_F(DoctorTest, a_card_that_sleeps_is_well) {
    devices_.current = {.state = telemetry::DeviceState::Asleep};
    EXPECT_THAT(look().findings, Contains(finding("driver", Health::Good, "asleep")));
}

TEST_F(DoctorTest, heat_and_programs_that_hold_memory_are_noticed) {
    devices_.current = {.temperature_c = 99, .throttled_by_heat = true};
    devices_.holders.push_back({.pid = 7, .name = "blender", .bytes = Bytes::from_gib(2)});
    devices_.holders.push_back({.pid = 8, .name = "Xorg", .bytes = Bytes::from_mib(90)});
    const std::vector<Finding> findings = look().findings;
    EXPECT_THAT(findings, Contains(finding("driver", Health::Good, "99 °C, throttles at 98 °C")));
    EXPECT_THAT(findings, Contains(finding("driver", Health::Notice, "slowed down by heat")));
    EXPECT_THAT(findings, Contains(finding("driver", Health::Notice, "blender (process 7) holds")));
    EXPECT_THAT(findings, Not(Contains(Field(&Finding::text, HasSubstr("Xorg")))));
    EXPECT_THAT(findings, Not(Contains(Field(&Finding::text, HasSubstr("python3")))));
}

TEST_F(DoctorTest, a_machine_without_a_driver_is_told_when_that_matters) {
    devices_.devices.clear();
    EXPECT_THAT(look().findings, Contains(finding("driver", Health::Notice, "no graphics driver")));
}

TEST_F(DoctorTest, a_line_above_the_card_is_noticed) {
    config_.max_vram_mb.value = 12'000;
    EXPECT_THAT(look().findings, Contains(finding("card", Health::Notice, "load line")));
}

TEST_F(DoctorTest, a_server_on_the_cpu_is_told) {
    stats_.devices[0].type = "cpu";
    EXPECT_THAT(look().findings, Contains(finding("card", Health::Notice, "CPU")));
}

}  // namespace
}  // namespace plimsoll::service
