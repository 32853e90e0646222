// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/segments.h"

#include <gtest/gtest.h>

namespace plimsoll::memory {
namespace {

constexpr std::int64_t kMib = 1024LL * 1024;

// Goal: segments as PyTorch cuts them. Method: sizes on both sides of its borders.
TEST(Segments, are_shared_by_small_tensors_and_own_for_large_ones) {
    Segments one;
    one.add(1);
    EXPECT_EQ(one.bytes(), 2 * kMib);
    for (int i = 0; i < 4095; ++i) one.add(512);  // fills the first segment to its end
    EXPECT_EQ(one.bytes(), 2 * kMib);
    one.add(1);
    EXPECT_EQ(one.bytes(), 4 * kMib);

    Segments middle;
    middle.add(kMib + 1);
    EXPECT_EQ(middle.bytes(), 20 * kMib);
    middle.add(10 * kMib);  // has its own
    EXPECT_EQ(middle.bytes(), 30 * kMib);
    middle.add(11 * kMib);
    EXPECT_EQ(middle.bytes(), 42 * kMib);
    EXPECT_EQ(Segments().bytes(), 0);
}

TEST(Allocator, is_the_pool_that_remaps_where_comfyui_turns_it_on) {
    Server server;
    Device device{.name = "NVIDIA GeForce RTX 3050", .total = {}, .used_by_others = {}};
    EXPECT_EQ(allocator_of(server, device), Allocator::Async);
    device.name = "NVIDIA GeForce GTX 1650";
    EXPECT_EQ(allocator_of(server, device), Allocator::Native);
    device.name = "NVIDIA GeForce RTX 3050";
    server.flags.cuda_malloc = false;
    EXPECT_EQ(allocator_of(server, device), Allocator::Native);
    server.flags.cuda_malloc = true;
    device.vendor = Vendor::Amd;
    EXPECT_EQ(allocator_of(server, device), Allocator::Native);
}

}  // namespace
}  // namespace plimsoll::memory
