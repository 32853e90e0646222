// SPDX-License-Identifier: Apache-2.0
//
// Goal: flags go over configuration over what the server says, and what is guessed is told. Method:
// made-up statistics.
#include "service/site.h"

#include "service/comfyui/scripted_upstream.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::service {
namespace {

using testing::Contains;
using testing::HasSubstr;
using testing::IsEmpty;

ServerStats stats_of(const std::string& device) {
    ServerStats stats;
    stats.comfyui_version = "0.3.70";
    stats.argv = {"main.py", "--reserve-vram", "1.5"};
    stats.os = "nt";
    stats.ram_free = Bytes::from_gib(9);
    // 600 MiB reserved by torch, 200 of them unused; 800 MiB taken by others.
    stats.devices.push_back({.name = device,
                             .type = "cuda",
                             .vram_total = Bytes::from_mib(6000),
                             .vram_free = Bytes::from_mib(4800),
                             .torch_total = Bytes::from_mib(600),
                             .torch_free = Bytes::from_mib(200)});
    return stats;
}
const std::string kDevice = "cuda:0 NVIDIA GeForce RTX 3050 6GB : cudaMallocAsync";

TEST(Site, a_running_server_says_where_it_runs) {
    const Site site = site_of_stats({}, {}, stats_of(kDevice), "http://x").value();
    EXPECT_EQ(site.card_name, "rtx3050-6gb");
    EXPECT_EQ(site.server.version, (memory::ComfyVersion{0, 3, 70}));
    EXPECT_EQ(site.server.flags.reserve_vram, Bytes::from_gib(1.5));
    EXPECT_EQ(site.device.total, Bytes::from_mib(6000));
    EXPECT_EQ(site.device.used_by_others, Bytes::from_mib(800));
    EXPECT_EQ(site.device.os, memory::OperatingSystem::Windows);
    EXPECT_EQ(site.device.host_ram_free, Bytes::from_gib(9));
    EXPECT_THAT(site.warnings, IsEmpty());
}

TEST(Site, configuration_goes_over_what_the_server_says) {
    Config config;
    config.comfyui_flags.value = "--reserve-vram 0.5";
    config.comfyui_version.value = "0.3.64";
    config.memory_policy.value = "dynamic";
    const Site site = site_of_stats(config, {}, stats_of(kDevice), "http://x").value();
    EXPECT_EQ(site.server.flags.reserve_vram, Bytes::from_gib(0.5));
    EXPECT_EQ(site.server.version, (memory::ComfyVersion{0, 3, 64}));
    EXPECT_EQ(site.server.policy, memory::MemoryPolicy::Dynamic);
}

TEST(Site, a_card_that_the_catalogue_lacks_keeps_its_name_and_is_told) {
    const Site site = site_of_stats({}, {}, stats_of("cuda:0 Imaginary 9000"), "http://x").value();
    EXPECT_EQ(site.card_name, "cuda:0 Imaginary 9000");
    EXPECT_THAT(site.warnings, Contains(HasSubstr("not in the catalogue")));
}

TEST(Site, a_context_that_is_still_to_come_is_counted) {
    ServerStats stats = stats_of(kDevice);
    stats.devices[0].torch_total = Bytes(0);
    stats.devices[0].torch_free = Bytes(0);
    stats.devices[0].vram_free = Bytes::from_mib(5990);
    const Site site = site_of_stats({}, {}, stats, "http://x").value();
    EXPECT_EQ(site.device.used_by_others, timing::context_bytes(site.card));
}

TEST(FindSite, a_named_card_asks_no_server_and_a_size_alone_is_a_what_if) {
    ManualClock clock;
    ScriptedUpstream upstream(clock);
    int asked = 0;
    upstream.stats = [&]() -> Result<ServerStats> {
        ++asked;
        return stats_of(kDevice);
    };
    Config config;
    config.card.value = "rtx4090";
    EXPECT_EQ(find_site(config, {}, &upstream)->card_name, "rtx4090");
    config.card.value.clear();
    const Site what_if =
        find_site(config, {.vram_mb = 4096, .ask_comfyui = true}, &upstream).value();
    EXPECT_EQ(what_if.device.total, Bytes::from_mib(4096));
    EXPECT_THAT(what_if.warnings, Contains(HasSubstr("no card was named")));
    EXPECT_EQ(asked, 0);
    EXPECT_TRUE(find_site(config, {}, &upstream)->from_comfyui);
}

TEST(FindSite, without_a_server_the_reference_card_stands_in_and_is_told) {
    ManualClock clock;
    ScriptedUpstream upstream(clock);
    upstream.stats = []() -> Result<ServerStats> {
        return fail(Errc::Unavailable, "connection refused");
    };
    const Site site = find_site({}, {}, &upstream).value();
    EXPECT_EQ(site.card_name, kReferenceCard);
    EXPECT_THAT(site.warnings, Contains(HasSubstr("connection refused")));
    EXPECT_THAT(find_site({}, {.vram_mb = 10, .ask_comfyui = true}, nullptr).error().message,
                HasSubstr("from 1024 to 1048576"));
}

}  // namespace
}  // namespace plimsoll::service
