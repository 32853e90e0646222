// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/gpu_memory.h"

#include <gtest/gtest.h>

namespace plimsoll::simulator {

namespace {

constexpr std::int64_t kMib = 1LL << 20U;
constexpr std::int64_t kTotal = 6144 * kMib;
constexpr std::int64_t kOutside = 300 * kMib;

TEST(GpuMemory, workspaces_fill_the_card_but_never_make_it_run_out) {
    GpuMemory memory(kTotal, kOutside, 0.02);
    EXPECT_TRUE(memory.take(3000 * kMib, 5000 * kMib));
    EXPECT_EQ(memory.use().driver_free(), 0);
    // What they took is torch's own to use again.
    EXPECT_EQ(memory.free(), kTotal - kOutside - 3000 * kMib);
    EXPECT_TRUE(memory.take(2800 * kMib));
    EXPECT_FALSE(memory.take(100 * kMib));
}

TEST(GpuMemory, an_emptied_cache_goes_back_to_the_driver) {
    GpuMemory memory(kTotal, kOutside, 0);
    ASSERT_TRUE(memory.take(1024 * kMib, 1024 * kMib));
    EXPECT_EQ(memory.use().reserved, 2048 * kMib);
    memory.give(512 * kMib);
    EXPECT_EQ(memory.use().reserved, 2048 * kMib);
    memory.empty_cache();
    EXPECT_EQ(memory.use().reserved, 512 * kMib);
}

TEST(GpuMemory, another_program_gets_only_what_torch_has_not_reserved) {
    GpuMemory memory(kTotal, kOutside, 0);
    ASSERT_TRUE(memory.take(1024 * kMib, 3072 * kMib));
    memory.take_outside(6000 * kMib);
    EXPECT_EQ(memory.use().outside, kTotal - 4096 * kMib);
    memory.take_outside(-6000 * kMib);
    EXPECT_EQ(memory.use().outside, 0);
}

TEST(GpuMemory, a_driver_that_spills_refuses_nothing_until_memory_is_given_back) {
    GpuMemory memory(kTotal, kOutside, 0);
    ASSERT_TRUE(memory.take(4096 * kMib));
    memory.spill(kTotal - 2048 * kMib);
    EXPECT_GT(memory.use().spilled, 0);
    EXPECT_EQ(memory.use().driver_free(), 0);
    EXPECT_TRUE(memory.take(1024 * kMib));
    memory.give(5120 * kMib);
    memory.empty_cache();
    EXPECT_EQ(memory.use().spilled, 0);
    memory.take_outside(-1);
    EXPECT_FALSE(memory.take(4096 * kMib));
}

}  // namespace

}  // namespace plimsoll::simulator
