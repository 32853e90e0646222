// SPDX-License-Identifier: Apache-2.0
#include "memory/server.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

using testing::ElementsAre;
using testing::HasSubstr;
using testing::IsEmpty;

LaunchFlags flags_of(const std::vector<std::string>& argv) {
    return parse_launch_flags(argv).value();
}

TEST(ComfyVersion, reads_releases_and_what_developers_append_to_them) {
    EXPECT_EQ(parse_comfy_version("0.3.64").value(), (ComfyVersion{0, 3, 64}));
    EXPECT_EQ(parse_comfy_version("v0.33.0").value(), (ComfyVersion{0, 33, 0}));
    EXPECT_EQ(parse_comfy_version("0.4").value(), (ComfyVersion{0, 4, 0}));
    EXPECT_EQ(parse_comfy_version("0.38.1rc2").value(), (ComfyVersion{0, 38, 1}));
    for (const std::string_view bad :
         {"", "latest", "1", "0.3.64.1", "0..1", "-1.2.3", "0.x.1", "99999999999.0.0"})
        EXPECT_FALSE(parse_comfy_version(bad)) << bad;
}

TEST(LaunchFlags, reads_what_touches_memory_in_both_spellings) {
    const LaunchFlags flags =
        flags_of({"main.py", "--listen", "0.0.0.0", "--port", "8188", "--lowvram",
                  "--reserve-vram=1.5", "--fp16-vae", "--disable-cuda-malloc"});
    EXPECT_EQ(flags.vram, VramState::Low);
    EXPECT_EQ(flags.reserve_vram, Bytes::from_gib(1.5));
    EXPECT_EQ(flags.vae, DTypeChoice::Fp16);
    EXPECT_FALSE(flags.cuda_malloc);
    EXPECT_THAT(flags.other, ElementsAre("--listen", "--port"));
    EXPECT_THAT(flags.dead, IsEmpty());
    EXPECT_THAT(flags.contradictions, IsEmpty());
}

TEST(LaunchFlags, names_flags_that_do_nothing_and_flags_that_fight) {
    EXPECT_THAT(flags_of({"--normalvram"}).dead, ElementsAre(HasSubstr("--normalvram")));
    EXPECT_THAT(flags_of({"--highvram", "--reserve-vram", "2"}).dead,
                ElementsAre(HasSubstr("--reserve-vram")));
    EXPECT_THAT(flags_of({"--lowvram", "--novram"}).contradictions,
                ElementsAre(HasSubstr("--lowvram and --novram")));
    EXPECT_THAT(flags_of({"--force-fp16", "--force-fp32"}).contradictions,
                ElementsAre(HasSubstr("--force-fp32")));
    EXPECT_THAT(flags_of({"--lowvram", "--lowvram"}).contradictions, IsEmpty());
}

TEST(LaunchFlags, copies_ahead_by_default_since_room_is_kept_for_it) {
    Device device;
    Server server;
    EXPECT_FALSE(copies_ahead(server, device));  // 0.3.64
    server.flags = flags_of({"--async-offload"});
    EXPECT_TRUE(copies_ahead(server, device));
    server = {.version = {0, 33, 0}, .flags = {}, .policy = {}};
    EXPECT_TRUE(copies_ahead(server, device));
    device.vendor = Vendor::Intel;
    EXPECT_FALSE(copies_ahead(server, device));
    device.vendor = Vendor::Amd;
    server.flags = flags_of({"--disable-async-offload"});
    EXPECT_FALSE(copies_ahead(server, device));
}

TEST(LaunchFlags, refuses_a_reserve_that_is_no_size) {
    EXPECT_EQ(flags_of({"--vram-headroom", "0.5"}).vram_headroom, Bytes::from_gib(0.5));
    EXPECT_FALSE(parse_launch_flags({"--vram-headroom", "-1"}));
    for (const std::string bad : {"", "-1", "much", "1e9", "nan"})
        EXPECT_FALSE(parse_launch_flags({"--reserve-vram", bad})) << bad;
    EXPECT_FALSE(parse_launch_flags({"--reserve-vram"}));
}

TEST(MemoryPolicy, is_the_servers_own_choice_by_version_card_and_flags) {
    const Device nvidia;
    Device amd;
    amd.vendor = Vendor::Amd;
    const auto server = [](ComfyVersion version, const std::vector<std::string>& argv) {
        return Server{.version = version, .flags = flags_of(argv), .policy = {}};
    };
    EXPECT_EQ(memory_policy(server({0, 3, 64}, {}), nvidia), MemoryPolicy::Estimate);
    EXPECT_EQ(memory_policy(server({0, 33, 0}, {}), nvidia), MemoryPolicy::Dynamic);
    EXPECT_EQ(memory_policy(server({0, 33, 0}, {}), amd), MemoryPolicy::Estimate);
    for (const std::string flag : {"--highvram", "--novram", "--gpu-only", "--disable-dynamic-vram",
                                   "--disable-smart-memory"})
        EXPECT_EQ(memory_policy(server({0, 33, 0}, {flag}), nvidia), MemoryPolicy::Estimate)
            << flag;
    EXPECT_EQ(memory_policy(server({0, 15, 0}, {"--enable-dynamic-vram"}), nvidia),
              MemoryPolicy::Dynamic);
    Server told = server({0, 33, 0}, {});
    told.policy = MemoryPolicy::Estimate;
    EXPECT_EQ(memory_policy(told, nvidia), MemoryPolicy::Estimate);
}

}  // namespace
}  // namespace plimsoll::memory
