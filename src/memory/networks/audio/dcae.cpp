// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/dcae.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kFactor = 2;     // of a level, along both sides
constexpr std::int64_t kExpansion = 4;  // of the gated convolution, once for each half
constexpr std::int64_t kScaleKernel = 5;

// [N, C, H, W] with its cells folded into channels, or unfolded.
Shape folded(const Shape& s, std::int64_t channels, DcResampling::Direction direction) {
    const bool down = direction == DcResampling::Direction::Down;
    const auto side = [&](std::int64_t n) { return down ? n / kFactor : n * kFactor; };
    return {s[0], channels, side(s[2]), side(s[3])};
}

Shape channels_last(const Shape& s) {
    return {s[0], s[2], s[3], s[1]};
}

Tensor run(Tape& tape, const DcLevel& level, const Tensor& x) {
    Tensor h = x;
    for (const DcBlock& block : level)
        h = std::visit([&](const auto& b) { return b.forward(tape, h); }, block);
    return h;
}

struct DcLevelShape {
    std::int64_t channels = 0;
    int blocks = 0;
    bool attends = false;
    std::int64_t head_dim = 32;
};

void add_blocks(Registry& r, std::string_view path, DcLevel& level, const DcLevelShape& shape) {
    for (int i = 0; i < shape.blocks; ++i) {
        const std::string name = fmt::format("{}.{}", path, level.size());
        if (shape.attends)
            level.emplace_back(DcAttentionBlock(r, name, shape.channels, shape.head_dim));
        else
            level.emplace_back(DcResBlock(r, name, shape.channels));
    }
}

}  // namespace

DcConv::DcConv(Registry& registry, Module path, std::int64_t in, std::int64_t out,
               const DcConvShape& shape, Bias bias)
    : path_(path), in_(in), out_(out), shape_(shape), bias_(bias == Bias::Yes) {
    registry.add(path, "Conv2d",
                 in / shape.groups * out * shape.kernel * shape.kernel + (bias_ ? out : 0));
}

Tensor DcConv::forward(Tape& tape, const Tensor& x) const {
    const Shape kernel{out_, in_ / shape_.groups, shape_.kernel, shape_.kernel};
    const Tape::Cast bias = bias_ ? tape.cast_weight({out_}, path_) : Tape::Cast{};
    const Tape::Cast weight = tape.cast_weight(kernel, path_);
    const Shape& s = x.shape();
    const auto side = [&](std::int64_t n) { return (n - 1) / shape_.stride + 1; };
    Tensor out = tape.make({s[0], out_, side(s[2]), side(s[3])}, x.type(), "convolution", path_);
    const std::int64_t bytes = element_bytes(x.type());
    tape.charge(OpClass::Convolution, "convolution", path_,
                ghost::saturating_product({2, s[0], side(s[2]), side(s[3]), kernel.elements()}),
                x.bytes() + (kernel.elements() + (bias_ ? out_ : 0)) * bytes + out.bytes() +
                    (bias_ && tape.options().casts_included ? 2 * out.bytes() : 0),
                bias_ ? 2 : 1);  // the bias is added by a kernel of its own
    return out;
}

DcNorm::DcNorm(Registry& registry, Module path, std::int64_t width) : path_(path), width_(width) {
    registry.add(path, "RMSNorm", 2 * width);
}

Tensor DcNorm::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor normal = [&] {
        const Tape::Cast weight = tape.cast_weight({width_}, path_);
        return rms_norm(tape, path_, x.view(channels_last(s)), Affine::Yes);
    }();
    Tensor shifted = tape.make(normal.shape(), normal.type(), "add", path_);
    tape.charge(OpClass::Elementwise, "add", path_, 0,
                2 * shifted.bytes() + width_ * element_bytes(normal.type()));
    return shifted.view(s);
}

DcResBlock::DcResBlock(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")),
      conv1_(r, r.path(path, "conv1"), channels, channels),
      conv2_(r, r.path(path, "conv2"), channels, channels, {}, Bias::No),
      norm_(r, r.path(path, "norm"), channels) {}

Tensor DcResBlock::forward(Tape& tape, const Tensor& x) const {
    Tensor h = conv1_.forward(tape, x);
    h = ghost::unary(tape, "silu", path_, h);
    h = conv2_.forward(tape, h);
    h = norm_.forward(tape, h);
    return ghost::binary(tape, "add", path_, h, x);
}

DcAttentionBlock::DcAttentionBlock(Registry& r, std::string_view path, std::int64_t channels,
                                   std::int64_t head_dim)
    : channels_(channels),
      head_dim_(head_dim),
      attention_(r.path(path, "attn")),
      glu_(r.path(path, "conv_out")),
      to_q_(r, r.path(*attention_, "to_q"), channels, channels, Bias::No),
      to_k_(r, r.path(*attention_, "to_k"), channels, channels, Bias::No),
      to_v_(r, r.path(*attention_, "to_v"), channels, channels, Bias::No),
      scale_in_(r, r.path(*attention_, "to_qkv_multiscale.0.proj_in"), 3 * channels, 3 * channels,
                {.kernel = kScaleKernel, .groups = 3 * channels}, Bias::No),
      scale_out_(r, r.path(*attention_, "to_qkv_multiscale.0.proj_out"), 3 * channels, 3 * channels,
                 {.kernel = 1, .groups = 3 * channels / head_dim}, Bias::No),
      to_out_(r, r.path(*attention_, "to_out"), 2 * channels, channels, Bias::No),
      norm_out_(r, r.path(*attention_, "norm_out"), channels),
      inverted_(r, r.path(*glu_, "conv_inverted"), channels, 2 * kExpansion * channels,
                {.kernel = 1}),
      depth_(r, r.path(*glu_, "conv_depth"), 2 * kExpansion * channels, 2 * kExpansion * channels,
             {.kernel = 3, .groups = 2 * kExpansion * channels}),
      point_(r, r.path(*glu_, "conv_point"), kExpansion * channels, channels, {.kernel = 1},
             Bias::No),
      norm_(r, r.path(*glu_, "norm"), channels) {}

// Of q, k and v of all scales, in fp32: [N, heads, 3 x head_dim, cells].
Tensor DcAttentionBlock::mix(Tape& tape, const Tensor& all) const {
    const Shape& s = all.shape();
    const std::int64_t heads = s[1] / (3 * head_dim_);
    const std::int64_t cells = s[2] * s[3];
    const Shape part{s[0], heads, head_dim_, cells};
    const Tensor wide = ghost::to_type(tape, attention_, all, ElementType::Float32);
    const Tensor q = ghost::unary(tape, "relu", attention_, wide.view(part));
    const Tensor k = ghost::unary(tape, "relu", attention_, wide.view(part));
    const Tensor summed = [&] {
        // A row of ones below the values sums the weights up.
        const Tensor v =
            ghost::produce(tape, OpClass::Copy, "constant_pad_nd", attention_, wide.view(part),
                           part.with(2, head_dim_ + 1), ElementType::Float32);
        const auto multiply = [&](const Tensor& a, const Tensor& b, std::int64_t inner,
                                  std::int64_t outer) {
            Tensor out = tape.make({s[0], heads, head_dim_ + 1, outer}, ElementType::Float32, "bmm",
                                   attention_);
            tape.charge(OpClass::MatMul, "bmm", attention_,
                        ghost::saturating_product({2, s[0], heads, head_dim_ + 1, inner, outer}),
                        a.bytes() + b.bytes() + out.bytes());
            return out;
        };
        const Tensor scores = multiply(v, k, cells, head_dim_);
        return multiply(scores, q, head_dim_, cells);
    }();
    const Tensor mean = [&] {
        const Tensor weights = ghost::unary(tape, "add", attention_, summed.view(part.with(2, 1)));
        return ghost::binary(tape, "div", attention_, summed.view(part), weights);
    }();
    return ghost::to_type(tape, attention_, mean, all.type());
}

Tensor DcAttentionBlock::attend(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor rows = x.view(channels_last(s));
    std::array<Tensor, 3> qkv = {to_q_.forward(tape, rows), to_k_.forward(tape, rows),
                                 to_v_.forward(tape, rows)};
    const std::array<Tensor, 2> scales = [&] {
        const Tensor near =
            ghost::cat(tape, attention_, qkv, 3).view({s[0], 3 * channels_, s[2], s[3]});
        const Tensor wider = scale_in_.forward(tape, near);
        return std::array<Tensor, 2>{near, scale_out_.forward(tape, wider)};
    }();
    const Tensor all = ghost::cat(tape, attention_, scales, 1);
    qkv = {};
    const Tensor mixed = mix(tape, all);
    const Tensor out = to_out_.forward(tape, mixed.view({s[0], s[2], s[3], 2 * channels_}));
    const Tensor normal = norm_out_.forward(tape, out.view(s));
    return ghost::binary(tape, "add", attention_, normal, x);
}

Tensor DcAttentionBlock::gate(Tape& tape, const Tensor& x) const {
    Tensor h = inverted_.forward(tape, x);
    h = ghost::unary(tape, "silu", glu_, h);
    h = depth_.forward(tape, h);
    h = [&] {
        const Tensor half = h.view(h.shape().with(1, kExpansion * channels_));
        const Tensor open = ghost::unary(tape, "silu", glu_, half);
        return ghost::binary(tape, "mul", glu_, half, open);
    }();
    h = point_.forward(tape, h);
    h = norm_.forward(tape, h);
    return ghost::binary(tape, "add", glu_, h, x);
}

Tensor DcAttentionBlock::forward(Tape& tape, const Tensor& x) const {
    const Tensor attended = attend(tape, x);
    return gate(tape, attended);
}

DcResampling::DcResampling(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                           Direction direction)
    : path_(r.path(path, "")),
      out_(out),
      direction_(direction),
      conv_(r, r.path(path, "conv"), in, out,
            {.kernel = 3, .stride = direction == Direction::Down ? kFactor : 1}) {}

Tensor DcResampling::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const auto copy = [&](std::string_view op, const Tensor& from, const Shape& shape) {
        return ghost::produce(tape, OpClass::Copy, op, path_, from, shape, from.type());
    };
    if (direction_ == Direction::Down) {
        const Tensor h = conv_.forward(tape, x);
        const Tensor cells =
            copy("pixel_unshuffle", x, folded(s, s[1] * kFactor * kFactor, direction_));
        const Tensor mean =
            ghost::produce(tape, OpClass::Elementwise, "mean", path_, cells, h.shape(), h.type());
        return ghost::binary(tape, "add", path_, h, mean);
    }
    const Tensor h = [&] {
        const Tensor larger = copy("upsample_nearest2d", x, folded(s, s[1], direction_));
        return conv_.forward(tape, larger);
    }();
    const Tensor cells = [&] {
        const Tensor repeated = copy("clone", x, s.with(1, out_ * kFactor * kFactor));
        return copy("pixel_shuffle", repeated, folded(s, out_, direction_));
    }();
    return ghost::binary(tape, "add", path_, h, cells);
}

DcEncoder::DcEncoder(Registry& r, std::string_view path, const modelfile::MusicDcaeConfig& c)
    : path_(r.path(path, "")),
      latent_channels_(c.latent_channels),
      conv_in_(r, r.path(path, "conv_in"), c.in_channels, c.block_out_channels.front()),
      levels_([&] {
          const std::size_t depth = c.block_out_channels.size();
          std::vector<DcLevel> levels(depth);
          for (std::size_t i = 0; i < depth; ++i) {
              const std::string name = fmt::format("{}.down_blocks.{}", path, i);
              const int width = c.block_out_channels[i];
              add_blocks(r, name, levels[i],
                         {.channels = width,
                          .blocks = c.encoder_layers_per_block[i],
                          .attends = i + 1 == depth,
                          .head_dim = c.attention_head_dim});
              if (i + 1 < depth)
                  levels[i].emplace_back(
                      DcResampling(r, fmt::format("{}.{}", name, levels[i].size()), width,
                                   c.block_out_channels[i + 1], DcResampling::Direction::Down));
          }
          return levels;
      }()),
      conv_out_(r, r.path(path, "conv_out"), c.block_out_channels.back(), c.latent_channels) {}

Tensor DcEncoder::forward(Tape& tape, const Tensor& mel) const {
    Tensor h = conv_in_.forward(tape, mel);
    for (const DcLevel& level : levels_) h = run(tape, level, h);
    const Tensor mean = ghost::produce(tape, OpClass::Elementwise, "mean", path_, h,
                                       h.shape().with(1, latent_channels_), h.type());
    const Tensor out = conv_out_.forward(tape, h);
    return ghost::binary(tape, "add", path_, out, mean);
}

DcDecoder::DcDecoder(Registry& r, std::string_view path, const modelfile::MusicDcaeConfig& c)
    : path_(r.path(path, "")),
      repeats_(c.block_out_channels.back() / c.latent_channels),
      conv_in_(r, r.path(path, "conv_in"), c.latent_channels, c.block_out_channels.back()),
      levels_([&] {
          const std::size_t depth = c.block_out_channels.size();
          std::vector<DcLevel> levels(depth);
          for (std::size_t i = 0; i < depth; ++i) {
              const std::string name = fmt::format("{}.up_blocks.{}", path, i);
              const int width = c.block_out_channels[i];
              if (i + 1 < depth)
                  levels[i].emplace_back(DcResampling(r, name + ".0", c.block_out_channels[i + 1],
                                                      width, DcResampling::Direction::Up));
              add_blocks(r, name, levels[i],
                         {.channels = width,
                          .blocks = c.decoder_layers_per_block[i],
                          .attends = i + 1 == depth,
                          .head_dim = c.attention_head_dim});
          }
          return levels;
      }()),
      norm_out_(r, r.path(path, "norm_out"), c.block_out_channels.front()),
      conv_out_(r, r.path(path, "conv_out"), c.block_out_channels.front(), c.in_channels) {}

Tensor DcDecoder::forward(Tape& tape, const Tensor& latent) const {
    const Shape& s = latent.shape();
    // Lives as long as the decoder runs.
    const Tensor repeated = ghost::clone(tape, path_, latent, {s[0], s[1], repeats_, s[2], s[3]});
    Tensor h = [&] {
        const Tensor first = conv_in_.forward(tape, latent);
        return ghost::binary(tape, "add", path_, first, repeated.view(first.shape()));
    }();
    for (std::size_t i = levels_.size(); i-- > 0;) h = run(tape, levels_[i], h);
    h = norm_out_.forward(tape, h);
    h = ghost::unary(tape, "relu", path_, h);
    return conv_out_.forward(tape, h);
}

}  // namespace plimsoll::memory
