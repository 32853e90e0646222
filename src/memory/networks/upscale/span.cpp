// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/upscale/span.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr int kBlocks = 6;
constexpr int kConvsPerBlock = 3;
constexpr std::int64_t kGain = 2;    // by which a convolution is wider while it is trained
constexpr std::int64_t kJoined = 4;  // tensors that the network sees at its end

std::vector<Conv2d> trained_convs(Registry& r, Module path, std::int64_t in, std::int64_t out) {
    std::vector<Conv2d> convs;
    convs.emplace_back(r, r.path(*path, "sk"), in, out, kConv1);
    convs.emplace_back(r, r.path(*path, "conv.0"), in, in * kGain, kConv1);
    convs.emplace_back(r, r.path(*path, "conv.1"), in * kGain, out * kGain);
    convs.emplace_back(r, r.path(*path, "conv.2"), out * kGain, out, kConv1);
    return convs;
}

}  // namespace

MergedConv::MergedConv(Registry& r, std::string_view parent, std::string_view name, std::int64_t in,
                       std::int64_t out)
    : trained_(trained_convs(r, r.path(parent, name), in, out)),
      merged_(r, r.path(*r.path(parent, name), "eval_conv"), in, out) {}

SpanNetwork::SpanNetwork(const modelfile::SpanConfig& c)
    : Upscaler(c.colours, c.scale, 1),
      norm_(c.norm),
      whole_(registry_.path("", "")),
      conv_in_(registry_, "", "conv_1", c.colours, c.width),
      blocks_([&] {
          std::vector<Block> blocks;
          for (int i = 1; i <= kBlocks; ++i) {
              const Module path = registry_.path("", fmt::format("block_{}", i));
              Block block{path, registry_.path(*path, "act1"), {}};
              for (int j = 1; j <= kConvsPerBlock; ++j)
                  block.convs.emplace_back(registry_, *path, fmt::format("c{}_r", j), c.width,
                                           c.width);
              blocks.push_back(std::move(block));
          }
          return blocks;
      }()),
      conv_cat_(registry_, registry_.path("conv_cat", ""), kJoined * c.width, c.width, kConv1),
      conv_out_(registry_, "", "conv_2", c.width, c.width),
      conv_pixels_(registry_, registry_.path("upsampler", "0"), c.width,
                   std::int64_t{c.colours} * c.scale * c.scale),
      shuffle_(registry_.path("upsampler", "1")) {}

SpanNetwork::Made SpanNetwork::run(Tape& tape, const Block& block, const Tensor& x) {
    const Tensor first = block.convs[0].forward(tape, x);
    ghost::unary_in_place(tape, "silu_", block.activation, first);
    const Tensor second = block.convs[1].forward(tape, first);
    ghost::unary_in_place(tape, "silu_", block.activation, second);
    const Tensor third = block.convs[2].forward(tape, second);
    const Tensor weight = [&] {
        const Tensor sigmoid = ghost::unary(tape, "sigmoid", block.path, third);
        return ghost::unary(tape, "sub", block.path, sigmoid);
    }();
    const Tensor sum = ghost::binary(tape, "add", block.path, third, x);
    return {ghost::binary(tape, "mul", block.path, sum, weight), first, weight};
}

// Python keeps what every block made until the network returns.
Tensor SpanNetwork::forward(Tape& tape, const Tensor& pixels) const {
    const Tensor centred = [&] {
        if (!norm_) return pixels;
        const Tensor less = ghost::unary(tape, "sub", whole_, pixels);
        return ghost::unary(tape, "mul", whole_, less);
    }();
    const Tensor features = conv_in_.forward(tape, centred);
    std::vector<Tensor> outs;
    std::vector<Tensor> weights;
    Tensor first;       // of the block before, under a name that nothing reads
    Tensor last_first;  // of the last block, which the end of the network sees
    for (int i = 0; i < kBlocks; ++i) {
        Made made =
            run(tape, blocks_[static_cast<std::size_t>(i)], i == 0 ? features : outs.back());
        outs.push_back(std::move(made.out));
        weights.push_back(std::move(made.weight));
        (i + 1 == kBlocks ? last_first : first) = std::move(made.first);
    }
    outs.back() = conv_out_.forward(tape, outs.back());
    const Tensor joined = [&] {
        const std::array<Tensor, kJoined> seen{features, outs.back(), outs.front(), last_first};
        const Tensor all = ghost::cat(tape, whole_, seen, 1);
        return conv_cat_.forward(tape, all);
    }();
    const Tensor shuffled = conv_pixels_.forward(tape, joined);
    const Shape& s = pixels.shape();
    return ghost::produce(tape, OpClass::Copy, "pixel_shuffle", shuffle_, shuffled,
                          {s[0], s[1], s[2] * scale(), s[3] * scale()}, shuffled.type());
}

Result<std::shared_ptr<const SpanNetwork>> build_span(const modelfile::SpanConfig& c) {
    const bool sound = within(c.colours, 1, kWidthMax) && within(c.width, 1, kWidthMax) &&
                       within(c.scale, 1, kUpscaleMax);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("SPAN of width {} and a scale of {} cannot be", c.width, c.scale));
    return std::make_shared<const SpanNetwork>(c);
}

}  // namespace plimsoll::memory
