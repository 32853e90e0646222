// SPDX-License-Identifier: Apache-2.0
#include "memory/ghost/ops.h"

namespace plimsoll::memory::ghost {

Tensor unary(Tape& tape, std::string_view op, Module module, const Tensor& x) {
    return produce(tape, OpClass::Elementwise, op, module, x, x.shape(), x.type());
}

Tensor binary(Tape& tape, std::string_view op, Module module, const Tensor& a, const Tensor& b) {
    const Tensor& larger = a.elements() >= b.elements() ? a : b;
    Tensor out = tape.make(larger.shape(), larger.type(), op, module);
    tape.charge(OpClass::Elementwise, op, module, 0, a.bytes() + b.bytes() + out.bytes());
    return out;
}

Tensor combine(Tape& tape, std::string_view op, Module module,
               std::initializer_list<const Tensor*> inputs, const Shape& shape, ElementType type) {
    Tensor out = tape.make(shape, type, op, module);
    std::int64_t moved = out.bytes();
    for (const Tensor* input : inputs) moved += input->bytes();
    tape.charge(OpClass::Elementwise, op, module, 0, moved);
    return out;
}

void unary_in_place(Tape& tape, std::string_view op, Module module, const Tensor& x) {
    tape.charge(OpClass::Elementwise, op, module, 0, 2 * x.bytes());
}

void binary_in_place(Tape& tape, std::string_view op, Module module, const Tensor& a,
                     const Tensor& b) {
    tape.charge(OpClass::Elementwise, op, module, 0, 2 * a.bytes() + b.bytes());
}

void combine_in_place(Tape& tape, std::string_view op, Module module, const Tensor& into,
                      std::initializer_list<const Tensor*> inputs) {
    std::int64_t moved = 2 * into.bytes();
    for (const Tensor* input : inputs) moved += input->bytes();
    tape.charge(OpClass::Elementwise, op, module, 0, moved);
}

Tensor produce(Tape& tape, OpClass op_class, std::string_view op, Module module, const Tensor& x,
               const Shape& shape, ElementType type) {
    Tensor out = tape.make(shape, type, op, module);
    tape.charge(op_class, op, module, 0, x.bytes() + out.bytes());
    return out;
}

Tensor create(Tape& tape, std::string_view op, Module module, const Shape& shape,
              ElementType type) {
    Tensor out = tape.make(shape, type, op, module);
    tape.charge(OpClass::Elementwise, op, module, 0, out.bytes());
    return out;
}

Tensor create_like(Tape& tape, std::string_view op, Module module, const Tensor& x) {
    return produce(tape, OpClass::Elementwise, op, module, x, x.shape(), x.type());
}

Tensor to_type(Tape& tape, Module module, const Tensor& x, ElementType type) {
    if (x.type() == type) return x;
    return produce(tape, OpClass::Copy, "_to_copy", module, x, x.shape(), type);
}

Tensor cat(Tape& tape, Module module, std::span<const Tensor> parts, std::size_t dim) {
    const Shape& first = parts.front().shape();
    std::int64_t joined = 0;
    std::int64_t read = 0;
    for (const Tensor& part : parts) {
        joined += part.shape()[dim];
        read += part.bytes();
    }
    const Shape shape = first.with(dim, joined);
    Tensor out = tape.make(shape, parts.front().type(), "cat", module);
    tape.charge(OpClass::Copy, "cat", module, 0, read + out.bytes());
    return out;
}

Tensor clone(Tape& tape, Module module, const Tensor& x, const Shape& shape) {
    return produce(tape, OpClass::Copy, "clone", module, x, shape, x.type());
}

namespace {
constexpr std::int64_t kFlashHeadDimMax = 256;  // PyTorch's flash kernels
constexpr std::int64_t kEfficientAccumulatorDim =
    128;                                    // above it the 16-bit kernel accumulates in memory
constexpr std::int64_t kMaskAlignment = 8;  // PyTorch pads a mask's last dimension for the kernel
constexpr std::int64_t kFloatBytes = 4;

// The recorders' names of the same operation.
std::string_view attention_name(const Tape& tape) {
    return tape.options().casts_included ? "sdpa" : "scaled_dot_product_attention";
}

bool is_16_bit(ElementType type) {
    return element_bytes(type) == 2;
}

}  // namespace

bool runs_flash(const Tape& tape, ElementType type, std::int64_t head_dim, const Tensor& mask) {
    return is_16_bit(type) && !mask.defined() && head_dim <= kFlashHeadDimMax &&
           !tape.options().efficient_attention;
}

namespace {

// What the chosen kernel takes while it runs, besides its result; released by the caller.
std::array<Tensor, 3> attention_temporaries(Tape& tape, Module module, const Tensor& q,
                                            const AttentionShape& s, const Tensor& mask,
                                            AttentionKernel kernel) {
    const auto take = [&](std::int64_t bytes) {
        return tape.make_temporary(bytes, attention_name(tape), module);
    };
    const std::int64_t rows = s.batch * s.heads * s.queries;
    if (kernel == AttentionKernel::Math) {
        // fp32 copies of q, k, v and the scaled q and k; scores and their softmax.
        const std::int64_t key_rows = s.batch * s.heads * s.keys;
        const std::int64_t copies = 2 * Heap::round_up(rows * s.head_dim * kFloatBytes) +
                                    3 * Heap::round_up(key_rows * s.head_dim * kFloatBytes);
        return {take(copies), take(rows * s.keys * kFloatBytes), take(rows * s.keys * kFloatBytes)};
    }
    if (runs_flash(tape, q.type(), s.head_dim, mask))
        return {take(rows * kFloatBytes), take(1), take(1)};  // logsumexp, seed and offset
    std::array<Tensor, 3> temporaries;
    // The mem-efficient kernel's logsumexp, which one of the recorders left out.
    if (tape.options().casts_included) temporaries[2] = take(rows * kFloatBytes);
    if (is_16_bit(q.type()) && s.head_dim > kEfficientAccumulatorDim) {
        temporaries[0] = take(rows * s.head_dim * kFloatBytes);
    }
    if (mask.defined() && s.keys % kMaskAlignment != 0) {
        const std::int64_t padded = (s.keys + kMaskAlignment - 1) / kMaskAlignment * kMaskAlignment;
        temporaries[1] = take(mask.elements() / s.keys * padded * element_bytes(q.type()));
    }
    return temporaries;
}
}  // namespace

Tensor attention(Tape& tape, Module module, const Tensor& q, const Tensor& k, const Tensor& v,
                 const AttentionShape& s, const Tensor& mask, AttentionKernel kernel) {
    Tensor out = tape.make({s.batch, s.heads, s.queries, s.head_dim}, q.type(),
                           attention_name(tape), module);
    {
        const auto temporaries = attention_temporaries(tape, module, q, s, mask, kernel);
    }
    const std::int64_t flops =
        saturating_product({4, s.batch, s.heads, s.queries, s.keys, s.head_dim});
    const std::int64_t mask_bytes =
        mask.defined() && tape.options().casts_included ? mask.bytes() : 0;
    tape.charge(OpClass::Attention, attention_name(tape), module, flops,
                q.bytes() + k.bytes() + v.bytes() + mask_bytes + out.bytes());
    tape.charge_scores(saturating_product({s.batch, s.heads, s.queries, s.keys}));
    return out;
}

}  // namespace plimsoll::memory::ghost
