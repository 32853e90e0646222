// SPDX-License-Identifier: Apache-2.0
//
// Goal: each problem is found and comes with what to do. Method: a scripted ComfyUI, folders made
// here.
#include "service/doctor.h"

#include "service/comfyui/scripted_upstream.h"

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
        places_.driver_file = folder_ / "driver";
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
    Checkup look() { return check_up(config_, upstream_, places_); }

    ManualClock clock_;
    ScriptedUpstream upstream_{clock_};
    ServerStats stats_;
    Config config_;
    CheckupPlaces places_;
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
        EXPECT_EQ(one.advice.empty(), one.health == Health::Good) << one.area << ": " << one.text;
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
    std::ofstream(places_.driver_file) << "NVRM version: 550.54.14\n";
    const Checkup checkup = look();
    EXPECT_FALSE(checkup.comfyui_answers);
    EXPECT_THAT(checkup.findings, Contains(finding("ComfyUI", Health::Problem, "refused")));
    EXPECT_THAT(checkup.findings, Contains(finding("driver", Health::Good, "550.54.14")));
    EXPECT_THAT(checkup.findings, Contains(finding("history", Health::Good, "0 runs")));
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
