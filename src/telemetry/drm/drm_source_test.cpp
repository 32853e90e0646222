// SPDX-License-Identifier: Apache-2.0
//
// Goal: what the open drivers write is told rightly. Method: trees as Linux 6.1 has them for an RX
// 7600 and an Arc A770 (values of public captures; source of the keys: the kernel's documentation).
#include "telemetry/drm/drm_source.h"

#include "telemetry/captured_tree.h"
#include "telemetry/drm/drm_clients.h"

#include <gtest/gtest.h>

namespace plimsoll::telemetry {
namespace {

constexpr const char* kAmd = "0000:03:00.0";

std::filesystem::path add_rx7600(const CapturedTree& tree) {
    const auto device = tree.add_display(kAmd, "0x1002", "amdgpu");
    tree.write(device / "mem_info_vram_total", "8573157376\n");
    tree.write(device / "mem_info_vram_used", "1260388352\n");
    tree.write(device / "mem_info_gtt_total", "16702738432\n");
    tree.write(device / "mem_info_gtt_used", "76152832\n");
    tree.write(device / "gpu_busy_percent", "42\n");
    const auto hwmon = device / "hwmon/hwmon3";
    tree.write(hwmon / "temp1_label", "edge\n");
    tree.write(hwmon / "temp1_input", "55000\n");
    tree.write(hwmon / "temp1_crit", "100000\n");
    tree.write(hwmon / "temp1_crit_hyst", "90000\n");
    tree.write(hwmon / "temp1_emergency", "105000\n");
    tree.write(hwmon / "temp2_label", "junction\n");
    tree.write(hwmon / "temp2_input", "68000\n");
    tree.write(hwmon / "temp3_label", "mem\n");
    tree.write(hwmon / "temp3_input", "72000\n");
    tree.write(hwmon / "power1_average", "95000000\n");
    tree.write(hwmon / "power1_cap", "165000000\n");
    tree.write(hwmon / "freq1_input", "2400000000\n");
    return device;
}

TEST(DrmSource, tells_memory_sensors_and_thresholds_of_an_amd_card) {
    const CapturedTree tree;
    (void)add_rx7600(tree);
    DrmSource source(tree.tree());
    const auto devices = source.list();
    ASSERT_TRUE(devices);
    ASSERT_EQ(devices->size(), 1U);
    EXPECT_EQ(devices->front().vendor, Vendor::Amd);
    EXPECT_EQ(devices->front().total, Bytes(8573157376));
    EXPECT_FALSE(devices->front().shares_memory);
    EXPECT_EQ(devices->front().limits.slowdown_c, 100);
    EXPECT_EQ(devices->front().limits.resume_c, 90);
    const auto sample = source.sample(kAmd, Attention::Watching);
    ASSERT_TRUE(sample) << sample.error().message;
    EXPECT_EQ(sample->used, Bytes(1260388352));
    EXPECT_EQ(sample->temperature_c, 55);
    EXPECT_EQ(sample->hotspot_c, 68);
    EXPECT_EQ(sample->memory_temperature_c, 72);
    EXPECT_EQ(sample->power_watts, 95);
    EXPECT_EQ(sample->power_limit_watts, 165);
    EXPECT_EQ(sample->clock_mhz, 2400);
    EXPECT_EQ(sample->utilization, 0.42);
    EXPECT_EQ(sample->throttled_by_heat, false);
}

TEST(DrmSource, an_integrated_chip_counts_the_memory_it_borrows) {
    const CapturedTree tree;
    const auto device = tree.add_display("0000:c4:00.0", "0x1002", "amdgpu");
    tree.write(device / "mem_info_vram_total", "536870912");
    tree.write(device / "mem_info_vram_used", "400000000");
    tree.write(device / "mem_info_gtt_total", "16000000000");
    tree.write(device / "mem_info_gtt_used", "3000000000");
    tree.write(device / "hwmon/hwmon1/in1_label", "vddnb\n");
    DrmSource source(tree.tree());
    const auto devices = source.list();
    ASSERT_TRUE(devices);
    EXPECT_TRUE(devices->front().shares_memory);
    EXPECT_EQ(devices->front().total, Bytes(16536870912));
    const auto sample = source.sample("0000:c4:00.0", Attention::Watching);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->used, Bytes(3400000000));
}

// An RX 6500 XT beside 16 GB of RAM.
TEST(DrmSource, a_small_card_beside_much_memory_is_a_card) {
    const CapturedTree tree;
    const auto device = add_rx7600(tree);
    tree.write(device / "mem_info_vram_total", "4278190080");
    DrmSource source(tree.tree());
    const auto devices = source.list();
    ASSERT_TRUE(devices);
    EXPECT_FALSE(devices->front().shares_memory);
    EXPECT_EQ(devices->front().total, Bytes(4278190080));
}

TEST(DrmSource, a_sleeping_card_is_asleep_and_its_sensors_are_let_be) {
    const CapturedTree tree;
    const auto device = add_rx7600(tree);
    tree.write(device / "power/runtime_status", "suspended");
    DrmSource source(tree.tree());
    const auto sample = source.sample(kAmd, Attention::Watching);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->state, DeviceState::Asleep);
    EXPECT_EQ(sample->temperature_c, std::nullopt);
}

TEST(DrmSource, missing_and_unreadable_files_are_no_values) {
    const CapturedTree tree;
    const auto device = tree.add_display("0000:00:02.0", "0x8086", "i915");
    tree.write(device / "gpu_busy_percent", "not a number");
    DrmSource source(tree.tree());
    const auto sample = source.sample("0000:00:02.0", Attention::Watching);
    ASSERT_TRUE(sample);
    EXPECT_EQ(sample->total, std::nullopt);
    EXPECT_EQ(sample->utilization, std::nullopt);
    EXPECT_FALSE(source.sample("0000:00:1f.0", Attention::Watching));
    EXPECT_FALSE(source.sample("nonsense", Attention::Watching));
}

constexpr const char* kAmdClient =
    "pos:\t0\nflags:\t02100002\nmnt_id:\t24\nino:\t1107\ndrm-driver:\tamdgpu\n"
    "drm-client-id:\t71\ndrm-pdev:\t0000:03:00.0\npasid:\t32782\n"
    "drm-total-vram:\t5000000 KiB\ndrm-resident-vram:\t4000000 KiB\n"
    "drm-memory-vram:\t4000000 KiB\ndrm-memory-gtt:\t80000 KiB\n"
    "amd-requested-vram:\t5000000 KiB\namd-evicted-vram:\t900000 KiB\n"
    "drm-engine-gfx:\t1234567 ns\n";

TEST(DrmClients, reads_what_stands_on_the_card_and_what_was_pushed_off) {
    const auto client = parse_drm_fdinfo(kAmdClient);
    ASSERT_TRUE(client);
    EXPECT_EQ(client->driver, "amdgpu");
    EXPECT_EQ(client->client, 71);
    EXPECT_EQ(client->vram, Bytes(4000000LL * 1024));
    EXPECT_EQ(client->spilled, Bytes(1000000LL * 1024));  // requested, not resident
}

TEST(DrmClients, other_files_are_no_clients) {
    EXPECT_FALSE(parse_drm_fdinfo(""));
    EXPECT_FALSE(parse_drm_fdinfo("pos: 0\nflags: 02\n"));
    EXPECT_FALSE(parse_drm_fdinfo("drm-driver: xe\n"));
    const auto huge = parse_drm_fdinfo(
        "drm-driver: xe\ndrm-client-id: 1\ndrm-resident-vram0: 9223372036854775807 MiB\n");
    ASSERT_TRUE(huge);
    EXPECT_EQ(huge->vram, Bytes(0));  // no card has that
}

TEST(DrmClients, a_client_with_three_files_counts_once) {
    const CapturedTree tree;
    (void)add_rx7600(tree);
    tree.write("proc/900/comm", "python3\n");
    for (const char* fd : {"5", "6", "7"}) {
        tree.link(std::filesystem::path("proc/900/fd") / fd, "/dev/dri/renderD128");
        tree.write(std::filesystem::path("proc/900/fdinfo") / fd, kAmdClient);
    }
    tree.link("proc/901/fd/3", "/tmp/log");
    const auto holders = list_drm_holders(tree.tree(), *PciAddress::parse(kAmd));
    ASSERT_EQ(holders.size(), 1U);
    EXPECT_EQ(holders[0].holder.pid, 900);
    EXPECT_EQ(holders[0].holder.name, "python3");
    EXPECT_EQ(holders[0].holder.bytes, Bytes(4000000LL * 1024));
}

}  // namespace
}  // namespace plimsoll::telemetry
