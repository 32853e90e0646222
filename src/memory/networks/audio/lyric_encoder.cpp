// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/lyric_encoder.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kHeads = 16;
constexpr std::int64_t kHeadDim = kLyricWidth / kHeads;
constexpr std::int64_t kFeedForwardWidth = 4096;
constexpr int kLayers = 6;

}  // namespace

Tensor multiply_by_heads(Tape& tape, Module module, const HeadMatrix& a, const HeadMatrix& b,
                         const Shape& result, std::int64_t inner) {
    const auto dense = [&](const HeadMatrix& matrix) {
        const bool copied = result[0] > 1 && matrix.layout == HeadLayout::Interleaved;
        const Tensor& x = matrix.values;
        // A matrix that all items share is repeated for each.
        return copied ? ghost::clone(tape, module, x, x.shape().with(0, result[0])) : x;
    };
    const Tensor left = dense(a);
    const Tensor right = dense(b);
    Tensor out =
        tape.make({result[0] * result[1], result[2], result[3]}, left.type(), "bmm", module);
    tape.charge(OpClass::MatMul, "bmm", module,
                ghost::saturating_product({2, out.elements(), inner}),
                left.bytes() + right.bytes() + out.bytes());
    return out.view(result);
}

LyricAttention::LyricAttention(Registry& r, std::string_view path)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "RelPositionMultiHeadedAttention", 2 * kLyricWidth,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      q_(r, r.path(path, "linear_q"), kLyricWidth, kLyricWidth),
      k_(r, r.path(path, "linear_k"), kLyricWidth, kLyricWidth),
      v_(r, r.path(path, "linear_v"), kLyricWidth, kLyricWidth),
      out_(r, r.path(path, "linear_out"), kLyricWidth, kLyricWidth),
      positions_(r, r.path(path, "linear_pos"), kLyricWidth, kLyricWidth, Bias::No) {}

// Rows of 2 tokens - 1 relative positions become rows of tokens, by a column of zeros in front.
Tensor LyricAttention::shift(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor zeros = ghost::create(tape, "zeros", path_, s.with_last(1), x.type());
    return ghost::cat(tape, path_, std::array<Tensor, 2>{zeros, x}, 3).view(s.with_last(s[2]));
}

// Every variable of the Python functions lives until they return.
LyricAttention::Attended LyricAttention::forward(Tape& tape, const Tensor& x,
                                                 const Tensor& positions) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const std::int64_t relative = positions.shape()[1];
    const Shape heads{batch, kHeads, tokens, kHeadDim};
    const Tensor q = q_.forward(tape, x);
    const Tensor k = k_.forward(tape, x).view(heads);
    const Tensor v = v_.forward(tape, x).view(heads);
    Attended attended;
    attended.cache = ghost::cat(tape, path_, std::array<Tensor, 2>{k, v}, 3);
    const Tensor p =
        positions_.forward_batched(tape, positions).view({1, kHeads, relative, kHeadDim});
    const Tensor q_u = ghost::unary(tape, "add", path_, q).view(heads);
    const Tensor q_v = ghost::unary(tape, "add", path_, q).view(heads);
    const Shape square{batch, kHeads, tokens, tokens};
    const Tensor by_content = multiply_by_heads(tape, path_, {q_u}, {k}, square, kHeadDim);
    Tensor by_position =
        multiply_by_heads(tape, path_, {q_v}, {p}, square.with_last(relative), kHeadDim);
    if (relative != tokens) by_position = shift(tape, by_position);
    const Tensor scores = [&] {
        const Tensor sum =
            ghost::combine(tape, "add", path_, {&by_content, &by_content}, square, x.type());
        return ghost::unary(tape, "div", path_, sum);
    }();
    const Tensor weights = ghost::unary(tape, "_softmax", path_, scores);
    Tensor out = multiply_by_heads(tape, path_, {weights, HeadLayout::Dense}, {v}, heads, tokens);
    out = ghost::clone(tape, path_, out, {batch, tokens, kHeads, kHeadDim}).view(x.shape());
    attended.tokens = out_.forward(tape, out);
    return attended;
}

LyricLayer::LyricLayer(Registry& r, std::string_view path)
    : path_(r.path(path, "")),
      attention_(r, *r.path(path, "self_attn")),
      ff_in_(r, r.path(path, "feed_forward.w_1"), kLyricWidth, kFeedForwardWidth),
      ff_act_(r.path(path, "feed_forward.activation")),
      ff_out_(r, r.path(path, "feed_forward.w_2"), kFeedForwardWidth, kLyricWidth),
      norm_ff_(r, r.path(path, "norm_ff"), kLyricWidth),
      norm_mha_(r, r.path(path, "norm_mha"), kLyricWidth) {}

Tensor LyricLayer::forward(Tape& tape, const Tensor& callers_x, const Tensor& positions) const {
    Tensor residual = callers_x;
    Tensor x = norm_mha_.forward(tape, residual);
    const LyricAttention::Attended attended = attention_.forward(tape, x, positions);
    x = ghost::binary(tape, "add", path_, residual, attended.tokens);
    // A cache for the convolution that this encoder does not have.
    const Tensor no_cache = ghost::create(tape, "zeros", path_, {0, 0, 0}, x.type());
    residual = x;
    x = norm_ff_.forward(tape, x);
    const Tensor update = [&] {
        const Tensor hidden = [&] {
            const Tensor first = ff_in_.forward(tape, x);
            return ghost::unary(tape, "silu", ff_act_, first);
        }();
        const Tensor out = ff_out_.forward(tape, hidden);
        return ghost::unary(tape, "mul", path_, out);  // by a scale of one
    }();
    return ghost::binary(tape, "add", path_, residual, update);
}

LyricEncoder::LyricEncoder(Registry& r, std::string_view path, std::int64_t in)
    : positions_(r.path(path, "embed.pos_enc")),
      in_(r, r.path(path, "embed.out.0"), in, kLyricWidth),
      in_norm_(r, r.path(path, "embed.out.1"), kLyricWidth),
      after_norm_(r, r.path(path, "after_norm"), kLyricWidth) {
    layers_.reserve(kLayers);
    for (int i = 0; i < kLayers; ++i)
        layers_.emplace_back(r, fmt::format("{}.encoders.{}", path, i));
}

// The table of positions, made in fp32 beside the card, is copied to it once and kept.
Tensor LyricEncoder::forward(Tape& tape, const Tensor& lyrics) const {
    const std::int64_t tokens = lyrics.shape()[1];
    Tensor table;
    const Tensor embedded = [&] {
        const Tensor normal = [&] {
            const Tensor first = in_.forward(tape, lyrics);
            return in_norm_.forward(tape, first);
        }();
        table = ghost::create(tape, "_to_copy", positions_,
                              {1, 2 * kLyricTokensMax - 1, kLyricWidth}, lyrics.type());
        tape.keep(table);
        return ghost::unary(tape, "mul", positions_, normal);
    }();
    const Tensor positions = table.view({1, 2 * tokens - 1, kLyricWidth});
    Tensor x = embedded;  // which lives on in the caller's frame
    for (const LyricLayer& layer : layers_) x = layer.forward(tape, x, positions);
    return after_norm_.forward(tape, x);
}

}  // namespace plimsoll::memory
