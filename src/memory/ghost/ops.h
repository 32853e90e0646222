// SPDX-License-Identifier: Apache-2.0
//
// PyTorch's operations on ghost tensors: each allocates what CUDA eager mode allocates, in that
// order, and charges the Tape. Views are free and are not here: see Tensor::view.
#pragma once
#include "memory/ghost/tape.h"

#include <span>

namespace plimsoll::memory::ghost {

using Module = const std::string*;  // path of the module that runs the operation; never null

// One input, one output of the same shape: silu, gelu, exp, ... and arithmetic with numbers.
[[nodiscard]] Tensor unary(Tape& tape, std::string_view op, Module module, const Tensor& x);
// Two inputs; the result has the larger one's shape and type.
[[nodiscard]] Tensor binary(Tape& tape, std::string_view op, Module module, const Tensor& a,
                            const Tensor& b);
// Any number of inputs, a new tensor of a given shape: addcmul, where, fused kernels...
[[nodiscard]] Tensor combine(Tape& tape, std::string_view op, Module module,
                             std::initializer_list<const Tensor*> inputs, const Shape& shape,
                             ElementType type);
void unary_in_place(Tape& tape, std::string_view op, Module module, const Tensor& x);
void binary_in_place(Tape& tape, std::string_view op, Module module, const Tensor& a,
                     const Tensor& b);
void combine_in_place(Tape& tape, std::string_view op, Module module, const Tensor& into,
                      std::initializer_list<const Tensor*> inputs);
// A new tensor of a given shape computed from `x` (copies, reductions, comparisons...).
[[nodiscard]] Tensor produce(Tape& tape, OpClass op_class, std::string_view op, Module module,
                             const Tensor& x, const Shape& shape, ElementType type);
// A new tensor from nothing (arange, full, zeros).
[[nodiscard]] Tensor create(Tape& tape, std::string_view op, Module module, const Shape& shape,
                            ElementType type);
// zeros_like, ones_like.
[[nodiscard]] Tensor create_like(Tape& tape, std::string_view op, Module module, const Tensor& x);
// `.to(type)`: the same tensor where the type is already right.
[[nodiscard]] Tensor to_type(Tape& tape, Module module, const Tensor& x, ElementType type);
[[nodiscard]] Tensor cat(Tape& tape, Module module, std::span<const Tensor> parts, std::size_t dim);
// movedim + flatten + contiguous and its reverse: one copy each.
[[nodiscard]] Tensor clone(Tape& tape, Module module, const Tensor& x, const Shape& shape);

struct AttentionShape {
    std::int64_t batch = 1;
    std::int64_t heads = 1;
    std::int64_t queries = 1;
    std::int64_t keys = 1;
    std::int64_t head_dim = 64;
};
enum class AttentionKernel : std::uint8_t { Default, Math };
// Whether PyTorch's flash kernel runs, which lays its result out as q is; the mem-efficient one,
// which runs otherwise, writes it token by token.
[[nodiscard]] bool runs_flash(const Tape& tape, ElementType type, std::int64_t head_dim,
                              const Tensor& mask = {});
// torch.scaled_dot_product_attention. `mask` may be undefined.
[[nodiscard]] Tensor attention(Tape& tape, Module module, const Tensor& q, const Tensor& k,
                               const Tensor& v, const AttentionShape& shape,
                               const Tensor& mask = {},
                               AttentionKernel kernel = AttentionKernel::Default);

}  // namespace plimsoll::memory::ghost
