// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/cosmos/cosmos_vae.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr Extent3 kPoint{1, 1, 1};
constexpr Extent3 kSpace{1, 3, 3};
constexpr Extent3 kTime{3, 1, 1};

Tensor join_frames(Tape& tape, Module module, const Tensor& before, const Tensor& x) {
    return ghost::cat(tape, module, std::array<Tensor, 2>{before, x}, 2);
}

}  // namespace

CosmosConv::CosmosConv(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                       const Extent3& kernel, const Extent3& stride, std::int64_t margin)
    : path_(r.path(path, "")),
      kernel_(kernel),
      stride_(stride),
      margin_(margin),
      conv_(r, r.path(path, "conv3d"), in, out, {.kernel = kernel, .stride = stride}) {}

Tensor CosmosConv::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const std::int64_t earlier = kernel_.frames - stride_.frames;
    const Tensor padded = [&] {
        const Tensor before = ghost::produce(tape, OpClass::Copy, "repeat", path_,
                                             x.view(s.with(2, 1)), s.with(2, earlier), x.type());
        const Tensor joined = join_frames(tape, path_, before, x);
        return ghost::produce(
            tape, OpClass::Copy, "constant_pad_nd", path_, joined,
            joined.shape().with(3, s[3] + 2 * margin_).with(4, s[4] + 2 * margin_), x.type());
    }();
    return conv_.forward(tape, padded);
}

CosmosConvPair::CosmosConvPair(Registry& r, std::string_view path, std::int64_t in,
                               std::int64_t out)
    : space_(r, *r.path(path, "0"), in, out, kSpace, {}, 1),
      time_(r, *r.path(path, "1"), out, out, kTime) {}

Tensor CosmosConvPair::forward(Tape& tape, const Tensor& x) const {
    const Tensor h = space_.forward(tape, x);
    return time_.forward(tape, h);
}

CosmosNorm::CosmosNorm(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")), norm_(r, r.path(path, "norm"), channels, 1) {}

// Several frames are not contiguous as images: the kernel copies them first.
Tensor CosmosNorm::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Shape images{s[0] * s[2], s[1], s[3], s[4]};
    const Tensor frames = s[2] > 1 ? ghost::clone(tape, path_, x, images) : x.view(images);
    return norm_.forward(tape, frames).view(s);
}

CosmosResidual::CosmosResidual(Registry& r, std::string_view path, std::int64_t in,
                               std::int64_t out)
    : path_(r.path(path, "")),
      norm1_(r, *r.path(path, "norm1"), in),
      conv1_(r, *r.path(path, "conv1"), in, out),
      norm2_(r, *r.path(path, "norm2"), out),
      conv2_(r, *r.path(path, "conv2"), out, out) {
    if (in != out) shortcut_.emplace(r, *r.path(path, "nin_shortcut"), in, out, kPoint);
}

Tensor CosmosResidual::forward(Tape& tape, const Tensor& callers_x) const {
    Tensor h = norm1_.forward(tape, callers_x);
    h = ghost::unary(tape, "silu", path_, h);
    h = conv1_.forward(tape, h);
    h = norm2_.forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    h = conv2_.forward(tape, h);
    const Tensor x = shortcut_ ? shortcut_->forward(tape, callers_x) : callers_x;
    return ghost::binary(tape, "add", path_, x, h);
}

CosmosVaeAttention::CosmosVaeAttention(Registry& r, std::string_view path, std::int64_t channels,
                                       CosmosAxis axis)
    : path_(r.path(path, "")),
      axis_(axis),
      norm_(r, *r.path(path, "norm"), channels),
      q_(r, *r.path(path, "q"), channels, channels, kPoint),
      k_(r, *r.path(path, "k"), channels, channels, kPoint),
      v_(r, *r.path(path, "v"), channels, channels, kPoint),
      out_(r, *r.path(path, "proj_out"), channels, channels, kPoint) {}

// Each frame's cells to each other. Several frames are copied to images first.
Tensor CosmosVaeAttention::attend_in_frames(Tape& tape, Tensor q, Tensor k, Tensor v) const {
    const Shape s = q.shape();
    const Shape images{s[0] * s[2], s[1], s[3], s[4]};
    for (Tensor* const t : {&q, &k, &v})
        *t = s[2] > 1 ? ghost::clone(tape, path_, *t, images) : t->view(images);
    const std::int64_t cells = s[3] * s[4];
    const Shape tokens{images[0], 1, cells, s[1]};
    const Tensor q_tokens = ghost::clone(tape, path_, q, tokens);
    const Tensor k_tokens = ghost::clone(tape, path_, k, tokens);
    const Tensor v_tokens = ghost::clone(tape, path_, v, tokens);
    const auto kernel = tape.options().math_attention_in_vae ? ghost::AttentionKernel::Math
                                                             : ghost::AttentionKernel::Default;
    return ghost::attention(
               tape, path_, q_tokens, k_tokens, v_tokens,
               {.batch = images[0], .heads = 1, .queries = cells, .keys = cells, .head_dim = s[1]},
               {}, kernel)
        .view(s);
}

// Each cell's frames to those before, step by step.
Tensor CosmosVaeAttention::attend_in_time(Tape& tape, Tensor q, Tensor k, Tensor v) const {
    const Shape s = q.shape();
    const std::int64_t cells = s[0] * s[3] * s[4];
    const Shape by_cell{cells, s[1], s[2]};
    if (s[0] > 1)
        for (Tensor* const t : {&q, &k, &v}) *t = ghost::clone(tape, path_, *t, by_cell);
    const auto multiply = [&](const Tensor& a, const Tensor& b, const Shape& result,
                              std::int64_t inner) {
        Tensor out = tape.make(result, a.type(), "bmm", path_);
        tape.charge(OpClass::MatMul, "bmm", path_,
                    ghost::saturating_product({2, result.elements(), inner}),
                    a.bytes() + b.bytes() + out.bytes());
        return out;
    };
    const Shape square{cells, s[2], s[2]};
    Tensor weights = multiply(q, k, square, s[1]);
    weights = ghost::unary(tape, "mul", path_, weights);
    const Tensor mask = [&] {
        const Tensor ones = ghost::create_like(tape, "ones_like", path_, weights);
        return ghost::unary(tape, "tril", path_, ones);
    }();
    weights = [&] {
        const Tensor hidden = ghost::produce(tape, OpClass::Elementwise, "eq", path_, mask, square,
                                             ElementType::Bool);
        return ghost::binary(tape, "masked_fill", path_, weights, hidden);
    }();
    weights = ghost::unary(tape, "_softmax", path_, weights);
    return multiply(weights, v, {cells, s[2], s[1]}, s[2]).view(s);
}

Tensor CosmosVaeAttention::forward(Tape& tape, const Tensor& x) const {
    Tensor h = norm_.forward(tape, x);
    Tensor q = q_.forward(tape, h);
    Tensor k = k_.forward(tape, h);
    Tensor v = v_.forward(tape, h);
    Tensor attended = axis_ == CosmosAxis::Space
                          ? attend_in_frames(tape, std::move(q), std::move(k), std::move(v))
                          : attend_in_time(tape, std::move(q), std::move(k), std::move(v));
    h = std::move(attended);
    h = out_.forward(tape, h);
    return ghost::binary(tape, "add", path_, x, h);
}

CosmosMiddle::CosmosMiddle(Registry& r, std::string_view path, std::int64_t channels)
    : block1_(r, *r.path(path, "block_1"), channels, channels),
      space_(r, *r.path(path, "attn_1.0"), channels, CosmosAxis::Space),
      time_(r, *r.path(path, "attn_1.1"), channels, CosmosAxis::Time),
      block2_(r, *r.path(path, "block_2"), channels, channels) {}

Tensor CosmosMiddle::forward(Tape& tape, const Tensor& x) const {
    Tensor h = block1_.forward(tape, x);
    {
        const Tensor in = std::move(h);  // lives on in the caller's frame
        h = space_.forward(tape, in);
        h = time_.forward(tape, h);
    }
    return block2_.forward(tape, h);
}

CosmosResampling::CosmosResampling(Registry& r, std::string_view path, std::int64_t channels,
                                   Direction direction)
    : path_(r.path(path, "")),
      direction_(direction),
      conv1_(direction == Direction::Up
                 ? CosmosConv(r, *r.path(path, "conv1"), channels, channels, kTime)
                 : CosmosConv(r, *r.path(path, "conv1"), channels, channels, kSpace, {1, 2, 2})),
      conv2_(direction == Direction::Up
                 ? CosmosConv(r, *r.path(path, "conv2"), channels, channels, kSpace, {}, 1)
                 : CosmosConv(r, *r.path(path, "conv2"), channels, channels, kTime, {2, 1, 1})),
      conv3_(r, *r.path(path, "conv3"), channels, channels, kPoint) {}

Tensor CosmosResampling::forward(Tape& tape, const Tensor& x) const {
    return direction_ == Direction::Up ? grow(tape, x) : shrink(tape, x);
}

// Convolutions beside means, over space, then over time. Each variable lives until it is assigned
// anew.
Tensor CosmosResampling::shrink(Tape& tape, const Tensor& callers_x) const {
    const auto pool = [&](const Tensor& x, const Shape& result) {
        return ghost::produce(tape, OpClass::Normalization, "avg_pool3d", path_, x, result,
                              x.type());
    };
    const Shape& s = callers_x.shape();
    Tensor x = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, callers_x,
                              s.with(3, s[3] + 1).with(4, s[4] + 1), callers_x.type());
    Tensor convolved = conv1_.forward(tape, x);
    Tensor pooled = pool(x, convolved.shape());
    x = ghost::binary(tape, "add", path_, convolved, pooled);
    x = join_frames(tape, path_, x.view(x.shape().with(2, 1)), x);
    convolved = conv2_.forward(tape, x);
    pooled = pool(x, convolved.shape());
    x = ghost::binary(tape, "add", path_, convolved, pooled);
    return conv3_.forward(tape, x);
}

// Frames are repeated but for the first, then rows and columns.
Tensor CosmosResampling::grow(Tape& tape, const Tensor& callers_x) const {
    const auto repeated = [&](const Tensor& x, std::size_t dim, std::int64_t times) {
        return ghost::clone(tape, path_, x, x.shape().with(dim, x.shape()[dim] * times));
    };
    const std::int64_t frames = callers_x.shape()[2];
    const std::int64_t times = frames > 1 ? 2 : 1;
    Tensor x = repeated(callers_x, 2, times);
    x = x.view(x.shape().with(2, frames * times - (times - 1)));
    x = ghost::binary(tape, "add", path_, conv1_.forward(tape, x), x);
    x = [&] {
        const Tensor rows = repeated(x, 3, 2);
        return repeated(rows, 4, 2);
    }();
    x = ghost::binary(tape, "add", path_, conv2_.forward(tape, x), x);
    return conv3_.forward(tape, x);
}

}  // namespace plimsoll::memory
