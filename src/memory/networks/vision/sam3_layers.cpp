// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/sam3_layers.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {
constexpr std::int64_t kHeads = 8;
}

Sam3Mlp::Sam3Mlp(Registry& r, std::string_view path, const std::vector<std::int64_t>& widths)
    : path_(r.path(path, "")) {
    for (std::size_t i = 0; i + 1 < widths.size(); ++i)
        layers_.emplace_back(r, r.path(path, fmt::format("layers.{}", i)), widths[i],
                             widths[i + 1]);
}

Tensor Sam3Mlp::forward(Tape& tape, const Tensor& x) const {
    Tensor y = x;
    for (std::size_t i = 0; i < layers_.size(); ++i) {
        y = layers_[i].forward(tape, y);
        if (i + 1 < layers_.size()) y = ghost::unary(tape, "relu", path_, y);
    }
    return y;
}

Sam3Attention::Sam3Attention(Registry& r, std::string_view path, const Widths& widths,
                             std::int64_t heads)
    : path_(r.path(path, "")),
      inner_(widths.inner),
      heads_(heads),
      q_(r, r.path(path, "q_proj"), widths.tokens, widths.inner),
      k_(r, r.path(path, "k_proj"), widths.keys, widths.inner),
      v_(r, r.path(path, "v_proj"), widths.keys, widths.inner),
      out_(r, r.path(path, "out_proj"), widths.inner, widths.tokens) {}

Tensor Sam3Attention::forward(Tape& tape, const Tensor& queries, const Tensor& keys,
                              const Tensor& values, const Tensor& mask) const {
    const Tensor q = q_.forward(tape, queries);
    const Tensor k = k_.forward(tape, keys);
    const Tensor v = v_.forward(tape, values);
    const ghost::AttentionShape shape{.batch = queries.shape()[0],
                                      .heads = heads_,
                                      .queries = queries.shape()[1],
                                      .keys = keys.shape()[1],
                                      .head_dim = inner_ / heads_};
    const Tensor mixed = ghost::attention(tape, path_, q, k, v, shape, mask).view(q.shape());
    return out_.forward(tape, mixed);
}

Sam3EncoderLayer::Sam3EncoderLayer(Registry& r, std::string_view path, std::int64_t width,
                                   std::int64_t feed_forward)
    : path_(r.path(path, "")),
      self_(r, *r.path(path, "self_attn"), {width, width, width}, kHeads),
      cross_(r, *r.path(path, "cross_attn_image"), {width, width, width}, kHeads),
      linear1_(r, r.path(path, "linear1"), width, feed_forward),
      linear2_(r, r.path(path, "linear2"), feed_forward, width),
      norm1_(r, r.path(path, "norm1"), width),
      norm2_(r, r.path(path, "norm2"), width),
      norm3_(r, r.path(path, "norm3"), width) {}

Tensor Sam3EncoderLayer::feed(Tape& tape, const Tensor& x) const {
    Tensor hidden = linear1_.forward(tape, x);
    hidden = ghost::unary(tape, "relu", path_, hidden);
    return linear2_.forward(tape, hidden);
}

Tensor Sam3EncoderLayer::forward(Tape& tape, const Tensor& x, const Tensor& positions,
                                 const Tensor& text, const Tensor& mask) const {
    Tensor normed = norm1_.forward(tape, x);
    // Of the first attention, but it lives as long as the layer does.
    const Tensor placed = ghost::binary(tape, "add", path_, normed, positions);
    Tensor y = [&] {
        const Tensor attended = self_.forward(tape, placed, placed, normed);
        return ghost::binary(tape, "add", path_, x, attended);
    }();
    normed = norm2_.forward(tape, y);
    y = [&] {
        const Tensor attended = cross_.forward(tape, normed, text, text, mask);
        return ghost::binary(tape, "add", path_, y, attended);
    }();
    normed = norm3_.forward(tape, y);
    const Tensor fed = feed(tape, normed);
    return ghost::binary(tape, "add", path_, y, fed);
}

Tensor Sam3EncoderLayer::forward_prompt(Tape& tape, const Tensor& x, const Tensor& image,
                                        const Tensor& positions) const {
    Tensor y = [&] {
        const Tensor normed = norm1_.forward(tape, x);
        const Tensor attended = self_.forward(tape, normed, normed, normed);
        return ghost::binary(tape, "add", path_, x, attended);
    }();
    y = [&] {
        const Tensor normed = norm2_.forward(tape, y);
        const Tensor placed = ghost::binary(tape, "add", path_, image, positions);
        const Tensor attended = cross_.forward(tape, normed, placed, image);
        return ghost::binary(tape, "add", path_, y, attended);
    }();
    const Tensor fed = feed(tape, norm3_.forward(tape, y));
    return ghost::binary(tape, "add", path_, y, fed);
}

Module add_embedding(Registry& r, std::string_view path, std::int64_t elements) {
    const Module own = r.path(path, "");
    r.add(own, "Embedding", elements);
    return own;
}

}  // namespace plimsoll::memory
