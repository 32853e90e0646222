// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_connector.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {
constexpr std::int64_t kRegisters = 128;   // learned tokens
constexpr std::int64_t kTokensMin = 1024;  // filled up to
}  // namespace

LtxConnector::LtxConnector(Registry& r, std::string_view path, const LtxConnectorShape& s)
    : shape_(s), path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "Embeddings1DConnector", kRegisters * s.heads * s.head_dim,
                               ModuleStorage::AsNetwork);
          return own;
      }()) {
    const std::int64_t width = s.heads * s.head_dim;
    blocks_.reserve(static_cast<std::size_t>(s.layers));
    for (int i = 0; i < s.layers; ++i) {
        const std::string block = fmt::format("{}.transformer_1d_blocks.{}", path, i);
        const LtxAttentionShape attention{.query_width = width,
                                          .context_width = width,
                                          .heads = s.heads,
                                          .head_dim = s.head_dim,
                                          .gated = s.gated};
        const Module own = r.path(block, "");
        const LtxAttention attn(r, *r.path(block, "attn1"), attention);
        const LtxFeedForward ff(r, *r.path(block, "ff"), width);
        blocks_.push_back({own, attn, ff});
    }
}

// The variables of the block live to its end.
Tensor LtxConnector::forward_block(Tape& tape, const Block& block, const Tensor& x,
                                   const LtxRope& rope) const {
    Tensor normal = rms_norm(tape, block.path, x, Affine::No);
    const Tensor update = block.attention.forward(tape, normal, {.rope = &rope});
    const Tensor h = ghost::binary(tape, "add", block.path, update, x);
    normal = rms_norm(tape, block.path, h, Affine::No);
    const Tensor fed = block.ff.forward(tape, normal);
    return ghost::binary(tape, "add", block.path, fed, h);
}

Tensor LtxConnector::forward(Tape& tape, const Tensor& text) const {
    const Shape& s = text.shape();
    const std::int64_t times = (std::max(kTokensMin, s[1]) + kRegisters - 1) / kRegisters;
    const Tape::Cast cast = tape.cast_weight({kRegisters, width()}, path_);
    const Tensor registers = tape.make({times * kRegisters, width()}, text.type(), "repeat", path_);
    tape.charge(OpClass::Copy, "repeat", path_, 0,
                registers.bytes() + kRegisters * width() * ghost::element_bytes(text.type()));
    Tensor x = [&] {
        const Tensor rest = ghost::produce(tape, OpClass::Copy, "repeat", path_,
                                           registers.view({1, times * kRegisters - s[1], width()}),
                                           {s[0], times * kRegisters - s[1], width()}, text.type());
        return ghost::cat(tape, path_, std::array<Tensor, 2>{text, rest}, 1);
    }();
    const Tensor positions =
        ghost::create(tape, "arange", path_, {x.shape()[1]}, ElementType::Float32);
    const LtxRope rope = ltx_rope(
        tape, path_, positions.view({1, 1, x.shape()[1]}),
        {.heads = shape_.heads, .hidden = width(), .split = shape_.split_rope, .precomputed = true},
        text.type());
    for (const Block& block : blocks_) x = forward_block(tape, block, x, rope);
    return rms_norm(tape, path_, x, Affine::No);
}

}  // namespace plimsoll::memory
