// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/upscale/rrdb.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

constexpr int kDensePerBlock = 3;
constexpr int kConvsPerDense = 5;
constexpr int kDoublingsMax = 4;
constexpr int kFoldedMultiple = 4;     // to which sides are padded where pixels are folded
constexpr int kLayersPerDoubling = 3;  // upsampling, convolution, activation
constexpr int kFirstDoubling = 2;      // its number among the layers

Module layer(Registry& r, int number) {
    return r.path("model", fmt::format("{}", number));
}

int after_doublings(const RrdbConfig& c) {
    return kFirstDoubling + kLayersPerDoubling * c.doublings;
}

}  // namespace

DenseBlock::DenseBlock(Registry& r, std::string_view path, const RrdbConfig& c)
    : path_(r.path(path, "")) {
    for (int i = 0; i < kConvsPerDense; ++i) {
        const bool last = i + 1 == kConvsPerDense;
        convs_.emplace_back(r, r.path(path, fmt::format("conv{}.0", i + 1)),
                            std::int64_t{c.width} + std::int64_t{i} * c.growth,
                            last ? c.width : c.growth);
        if (!last) activations_.push_back(r.path(path, fmt::format("conv{}.1", i + 1)));
    }
}

// Each convolution sees the block's input and all that the others before it made.
Tensor DenseBlock::forward(Tape& tape, const Tensor& x) const {
    std::vector<Tensor> seen = {x};
    for (std::size_t i = 0; i < activations_.size(); ++i) {
        Tensor grown = [&] {
            if (i == 0) return convs_[i].forward(tape, x);
            const Tensor all = ghost::cat(tape, path_, seen, 1);
            return convs_[i].forward(tape, all);
        }();
        ghost::unary_in_place(tape, "leaky_relu_", activations_[i], grown);
        seen.push_back(std::move(grown));
    }
    const Tensor out = [&] {
        const Tensor all = ghost::cat(tape, path_, seen, 1);
        return convs_.back().forward(tape, all);
    }();
    const Tensor scaled = ghost::unary(tape, "mul", path_, out);
    return ghost::binary(tape, "add", path_, scaled, x);
}

RrdbNetwork::RrdbNetwork(const RrdbConfig& c)
    : Upscaler(c.colours, modelfile::scale_of(c), c.unshuffle > 1 ? kFoldedMultiple : 1),
      unshuffle_(c.unshuffle),
      whole_(registry_.path("", "")),
      conv_in_(registry_, layer(registry_, 0), std::int64_t{c.colours} * c.unshuffle * c.unshuffle,
               c.width),
      trunk_(layer(registry_, 1)),
      blocks_([&] {
          std::vector<Block> blocks;
          for (int i = 0; i < c.blocks; ++i) {
              Block block{registry_.path(*trunk_, fmt::format("sub.{}", i)), {}};
              for (int j = 0; j < kDensePerBlock; ++j)
                  block.dense.emplace_back(registry_, fmt::format("{}.RDB{}", *block.path, j + 1),
                                           c);
              blocks.push_back(std::move(block));
          }
          return blocks;
      }()),
      trunk_out_(registry_, registry_.path(*trunk_, fmt::format("sub.{}", c.blocks)), c.width,
                 c.width),
      doublings_([&] {
          std::vector<Doubling> doublings;
          for (int i = 0; i < c.doublings; ++i) {
              const int first = kFirstDoubling + kLayersPerDoubling * i;
              const Module upsample = layer(registry_, first);
              Conv2d conv(registry_, layer(registry_, first + 1), c.width, c.width);
              doublings.push_back({upsample, conv, layer(registry_, first + 2)});
          }
          return doublings;
      }()),
      conv_hidden_(registry_, layer(registry_, after_doublings(c)), c.width, c.width),
      activation_(layer(registry_, after_doublings(c) + 1)),
      conv_out_(registry_, layer(registry_, after_doublings(c) + 2), c.width, c.colours) {}

Tensor RrdbNetwork::forward_trunk(Tape& tape, const Tensor& x) const {
    Tensor y = x;
    for (const Block& block : blocks_) {
        const Tensor scaled = [&] {
            Tensor h = y;
            for (const DenseBlock& dense : block.dense) h = dense.forward(tape, h);
            return ghost::unary(tape, "mul", block.path, h);
        }();
        y = ghost::binary(tape, "add", block.path, scaled, y);
    }
    y = trunk_out_.forward(tape, y);
    return ghost::binary(tape, "add", trunk_, x, y);
}

Tensor RrdbNetwork::forward(Tape& tape, const Tensor& pixels) const {
    const Tensor folded = [&] {
        if (unshuffle_ == 1) return pixels;
        const Shape& s = pixels.shape();
        return ghost::produce(
            tape, OpClass::Copy, "pixel_unshuffle", whole_, pixels,
            {s[0], s[1] * unshuffle_ * unshuffle_, s[2] / unshuffle_, s[3] / unshuffle_},
            pixels.type());
    }();
    Tensor x = conv_in_.forward(tape, folded);
    x = forward_trunk(tape, x);
    for (const Doubling& doubling : doublings_) {
        const Shape& s = x.shape();
        x = ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d", doubling.upsample, x,
                           {s[0], s[1], 2 * s[2], 2 * s[3]}, x.type());
        x = doubling.conv.forward(tape, x);
        ghost::unary_in_place(tape, "leaky_relu_", doubling.activation, x);
    }
    x = conv_hidden_.forward(tape, x);
    ghost::unary_in_place(tape, "leaky_relu_", activation_, x);
    return conv_out_.forward(tape, x);
}

Result<std::shared_ptr<const RrdbNetwork>> build_rrdb(const RrdbConfig& c) {
    const bool sound = within(c.colours, 1, kWidthMax) && within(c.width, 1, kWidthMax) &&
                       within(c.growth, 1, kWidthMax) && within(c.blocks, 1, kDepthMax) &&
                       within(c.doublings, 0, kDoublingsMax) &&
                       within(c.unshuffle, 1, kUpscaleMax) && (1 << c.doublings) >= c.unshuffle;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("ESRGAN of width {} with {} blocks and {} doublings cannot be",
                                c.width, c.blocks, c.doublings));
    return std::make_shared<const RrdbNetwork>(c);
}

}  // namespace plimsoll::memory
