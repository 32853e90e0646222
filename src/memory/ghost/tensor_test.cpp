// SPDX-License-Identifier: Apache-2.0
#include "memory/ghost/tensor.h"

#include "memory/ghost/ops.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::memory::ghost {
namespace {

const std::string kModule = "module";

TEST(GhostTensor, frees_its_block_with_the_last_copy) {
    Heap heap;
    {
        const Shape shape{100};
        Tensor a(heap, heap.allocate(shape, ElementType::Float16, {}), shape, ElementType::Float16);
        Tensor b = a;
        a = {};
        EXPECT_EQ(heap.live_bytes(), 512);  // 200 bytes, rounded up
        const Tensor view = b.view({10, 10});
        b = {};
        EXPECT_EQ(heap.live_bytes(), 512);
    }
    EXPECT_EQ(heap.live_bytes(), 0);
    EXPECT_EQ(heap.peak_bytes(), 512);
}

TEST(GhostTensor, rebinding_a_variable_frees_the_old_value_only_after_the_new_exists) {
    Tape tape({});
    Tensor x = tape.make({1024}, ElementType::Float16, "a", &kModule);
    x = unary(tape, "b", &kModule, x);
    EXPECT_EQ(tape.heap().peak_bytes(), 2 * 2048);
    EXPECT_EQ(tape.heap().live_bytes(), 2048);
}

TEST(GhostHeap, remembers_what_was_live_at_the_peak_in_order_of_allocation) {
    Tape tape({});
    const Tensor kept = tape.make({256}, ElementType::Float32, "kept", &kModule);
    {
        const Tensor big = tape.make({1024}, ElementType::Float32, "big", &kModule);
    }
    const Tensor later = tape.make({256}, ElementType::Float32, "later", &kModule);
    const std::vector<Block> blocks = tape.heap().blocks_at_peak();
    ASSERT_EQ(blocks.size(), 2U);
    EXPECT_EQ(blocks[0].label.op, "kept");
    EXPECT_EQ(blocks[1].label.op, "big");
    EXPECT_EQ(tape.heap().peak_label().op, "big");
}

TEST(GhostHeap, does_not_count_the_callers_inputs) {
    Tape tape({});
    const Tensor input = tape.input({1024}, ElementType::Float32);
    const Tensor made = tape.make({128}, ElementType::Float32, "made", &kModule);
    EXPECT_EQ(tape.heap().input_bytes(), 4096);
    EXPECT_EQ(tape.heap().peak_bytes(), 512);
}

TEST(GhostTape, counts_weight_copies_apart_unless_told_otherwise) {
    for (const bool included : {false, true}) {
        Tape tape({.storage = ElementType::Float8E4M3,
                   .compute = ElementType::Float16,
                   .casts_included = included});
        {
            const Tape::Cast cast = tape.cast_weight({1024}, &kModule);
        }
        EXPECT_EQ(tape.max_cast_bytes(), included ? 0 : 2048);
        EXPECT_EQ(tape.heap().peak_bytes(), included ? 2048 : 0);
        EXPECT_EQ(tape.heap().live_bytes(), 0);
    }
}

TEST(GhostTape, lists_weight_copies_at_the_peak_even_where_they_are_counted_apart) {
    Tape tape({.storage = ElementType::Float8E4M3, .compute = ElementType::Float16});
    {
        const Tape::Cast cast = tape.cast_weight({1024}, &kModule);
        const Tensor made = tape.make({256}, ElementType::Float16, "made", &kModule);
    }
    const std::vector<Block> blocks = tape.heap().blocks_at_peak();
    ASSERT_EQ(blocks.size(), 2U);
    EXPECT_EQ(blocks[0].label.op, "_to_copy");
    EXPECT_EQ(blocks[1].label.op, "made");
    EXPECT_EQ(tape.heap().peak_bytes(), 512);
}

TEST(GhostAttention, takes_what_the_chosen_kernel_takes) {
    const AttentionShape shape{
        .batch = 1, .heads = 1, .queries = 256, .keys = 256, .head_dim = 512};
    const auto peak = [&](ElementType type, AttentionKernel kernel, std::int64_t head_dim) {
        Tape tape({});
        AttentionShape s = shape;
        s.head_dim = head_dim;
        const Tensor x = tape.input({1, 256, head_dim}, type);
        const Tensor out = attention(tape, &kModule, x, x, x, s, {}, kernel);
        return tape.heap().peak_bytes() - out.bytes();
    };
    EXPECT_EQ(peak(ElementType::Float16, AttentionKernel::Default, 64),
              256 * 4 + 2 * 512);  // flash: logsumexp, seed
    EXPECT_EQ(peak(ElementType::Float16, AttentionKernel::Default, 512),
              256 * 512 * 4);  // fp32 accumulator
    EXPECT_EQ(peak(ElementType::Float32, AttentionKernel::Default, 512), 0);
    EXPECT_EQ(peak(ElementType::Float32, AttentionKernel::Math, 512),
              5 * 256 * 512 * 4 + 2 * 256 * 256 * 4);
}

}  // namespace
}  // namespace plimsoll::memory::ghost
