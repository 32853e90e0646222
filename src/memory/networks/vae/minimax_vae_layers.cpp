// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/split_half_rope.h"
#include "memory/networks/vae/minimax_vae.h"

#include <fmt/format.h>

#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::MiniMaxVaeConfig;

namespace {

constexpr std::int64_t kGroups = 32;
constexpr std::int64_t kAxes = 3;
constexpr std::size_t kFrames = 2;  // axes of [N, C, T, H, W]
constexpr std::size_t kRows = 3;
constexpr std::size_t kColumns = 4;

std::int64_t product(const std::vector<int>& factors) {
    return std::accumulate(factors.begin(), factors.end(), std::int64_t{1}, std::multiplies<>());
}

std::int64_t width_of(const MiniMaxVaeConfig& c) {
    return std::int64_t{c.decoder_num_attention_heads} * c.decoder_attention_head_dim;
}

// Three quarters of a head are rotated.
std::int64_t rotated_channels_of(const MiniMaxVaeConfig& c) {
    return std::int64_t{c.decoder_attention_head_dim} * 3 / 4;
}

// A layer that may be stored in int8, whose weights are then written here rather than by it.
Linear block_linear(Registry& r, Registry& unlisted, const MiniMaxVaeConfig& c, Module path,
                    std::int64_t in, std::int64_t out) {
    if (!c.int8_decoder) return {r, path, in, out};
    r.add_int8_linear(path, in, out);
    return {unlisted, path, in, out};
}

}  // namespace

MiniMaxConv::MiniMaxConv(Registry& r, Module path, std::int64_t in, std::int64_t out,
                         const Form& form)
    : path_(path),
      form_(form),
      conv_(r, path, in, out,
            {.kernel = {form.kernel, form.kernel, form.kernel}, .stride = form.stride},
            ModuleStorage::AsNetwork, "CausalConv3d") {}

Tensor MiniMaxConv::forward(Tape& tape, const Tensor& x) const {
    if (form_.kernel == 1) return conv_.forward(tape, x);
    const Shape& s = x.shape();
    Tensor padded = x;
    if (form_.around > 0)
        padded = ghost::produce(tape, OpClass::Copy, "reflection_pad3d", path_, x,
                                s.with(kRows, s[kRows] + 2 * form_.around)
                                    .with(kColumns, s[kColumns] + 2 * form_.around),
                                x.type());
    // A single frame sees the last of the kernel's frames only.
    if (s[kFrames] == 1) return conv_.forward(tape, padded, {.last_frames = 1});
    padded = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, padded,
                            padded.shape().with(kFrames, s[kFrames] + form_.kernel - 1), x.type());
    return conv_.forward(tape, padded);
}

MiniMaxFrameNorm::MiniMaxFrameNorm(Registry& r, Module path, std::int64_t channels)
    : path_(path), norm_(r, path, channels, kGroups, "TemporalIsolatedGroupNorm") {}

Tensor MiniMaxFrameNorm::forward(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const Tensor normal = [&] {
        const Tensor frames = ghost::clone(tape, path_, x, x.shape())
                                  .view({s[0] * s[kFrames], s[1], 1, s[kRows], s[kColumns]});
        return norm_.forward(tape, frames);
    }();
    return ghost::clone(tape, path_, normal, s);
}

MiniMaxVaeResidual::MiniMaxVaeResidual(Registry& r, std::string_view path, std::int64_t in,
                                       std::int64_t out)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "norm1"), in),
      norm2_(r, r.path(path, "norm2"), out),
      conv1_(r, r.path(path, "conv1"), in, out, {}),
      conv2_(r, r.path(path, "conv2"), out, out, {}) {
    if (in != out)
        shortcut_.emplace(r, r.path(path, "nin_shortcut"), in, out,
                          MiniMaxConv::Form{.kernel = 1, .around = 0});
}

Tensor MiniMaxVaeResidual::forward(Tape& tape, const Tensor& x) const {
    const auto part = [&](const MiniMaxFrameNorm& norm, const MiniMaxConv& conv, const Tensor& in) {
        const Tensor normal = norm.forward(tape, in);
        ghost::unary_in_place(tape, "silu_", path_, normal);
        return conv.forward(tape, normal);
    };
    Tensor h = part(norm1_, conv1_, x);
    h = part(norm2_, conv2_, h);
    ghost::binary_in_place(tape, "add_", path_, h, shortcut_ ? shortcut_->forward(tape, x) : x);
    return h;
}

MiniMaxVaeEncoder::MiniMaxVaeEncoder(Registry& r, const MiniMaxVaeConfig& c)
    : path_(r.path("encoder", "")),
      conv_in_(r, r.path("encoder", "conv_in"), c.in_channels, c.block_out_channels.front(), {}) {
    std::int64_t in = c.block_out_channels.front();
    for (std::size_t i = 0; i < c.block_out_channels.size(); ++i) {
        const std::int64_t out = c.block_out_channels[i];
        const std::string name = fmt::format("encoder.down.{}", i);
        Level& level = levels_.emplace_back();
        for (int block = 0; block < c.layers_per_block; ++block) {
            level.blocks.emplace_back(r, fmt::format("{}.block.{}", name, block), in, out);
            in = out;
        }
        const std::int64_t across = c.spatial_downsample_factors[i];
        const std::int64_t along = c.temporal_downsample_factors[i];
        if (across * along == 1) continue;
        level.downsample_path = r.path(name, "downsample");
        level.halves_pixels = across > 1;
        level.downsample.emplace(r, r.path(name, "downsample.conv"), out, out,
                                 MiniMaxConv::Form{.stride = {along, across, across}, .around = 0});
    }
    norm_out_.emplace(r, r.path("encoder", "norm_out"), in);
    conv_out_.emplace(r, r.path("encoder", "conv_out"), in, 2 * std::int64_t{c.latent_channels},
                      MiniMaxConv::Form{});
}

Tensor MiniMaxVaeEncoder::forward(Tape& tape, const Tensor& pixels) const {
    Tensor h = conv_in_.forward(tape, pixels);
    for (const Level& level : levels_) {
        for (const MiniMaxVaeResidual& block : level.blocks) h = block.forward(tape, h);
        if (!level.downsample) continue;
        Tensor padded = h;
        if (level.halves_pixels)
            padded = ghost::produce(
                tape, OpClass::Copy, "reflection_pad3d", level.downsample_path, h,
                h.shape().with(kRows, h.shape()[kRows] + 1).with(kColumns, h.shape()[kColumns] + 1),
                h.type());
        h = level.downsample->forward(tape, padded);
    }
    h = [&] {
        const Tensor normal = norm_out_->forward(tape, h);
        return ghost::unary(tape, "silu", path_, normal);
    }();
    return conv_out_->forward(tape, h);
}

MiniMaxVaeBlock::MiniMaxVaeBlock(Registry& r, Registry& unlisted, std::string_view path,
                                 const MiniMaxVaeConfig& c)
    : path_([&] {
          const Module own = r.path(path, "");  // the two scales
          r.add_own_parameters(own, "TransformerBlock", 2 * width_of(c), ModuleStorage::AsNetwork);
          return own;
      }()),
      int8_(c.int8_decoder),
      heads_(c.decoder_num_attention_heads),
      head_dim_(c.decoder_attention_head_dim),
      norm1_(r, r.path(path, "norm1"), width_of(c)),
      attn_(r.path(path, "attn")),
      to_qkv_(
          block_linear(r, unlisted, c, r.path(path, "attn.to_qkv"), width_of(c), 3 * width_of(c))),
      to_out_(block_linear(r, unlisted, c, r.path(path, "attn.to_out"), width_of(c), width_of(c))),
      norm2_(r, r.path(path, "norm2"), width_of(c)),
      ff_(r.path(path, "ff")),
      w1_(block_linear(r, unlisted, c, r.path(path, "ff.w1"), width_of(c),
                       2 * width_of(c) * c.decoder_ffn_mult)),
      w2_(block_linear(r, unlisted, c, r.path(path, "ff.w2"), width_of(c) * c.decoder_ffn_mult,
                       width_of(c))) {}

Tensor MiniMaxVaeBlock::attend(Tape& tape, const Tensor& x, const Tensor& table) const {
    const Shape& s = x.shape();
    const Shape heads{s[0], s[1], heads_, head_dim_};
    const Shape rotated = heads.with_last(2 * table.shape()[3]);
    const Tensor qkv = project(tape, to_qkv_, x).view(heads);  // as three, cut inside each head
    const Tensor q = rms_norm(tape, attn_, qkv, Affine::No);
    const Tensor k = rms_norm(tape, attn_, qkv, Affine::No);
    {
        const Tensor q_rotated = apply_rope_split_half(tape, attn_, q.view(rotated), table);
        const Tensor k_rotated = apply_rope_split_half(tape, attn_, k.view(rotated), table);
        ghost::binary_in_place(tape, "copy_", attn_, q.view(rotated), q_rotated);
        ghost::binary_in_place(tape, "copy_", attn_, k.view(rotated), k_rotated);
    }
    const Tensor out = ghost::attention(
        tape, attn_, q, k, qkv,
        {.batch = s[0], .heads = heads_, .queries = s[1], .keys = s[1], .head_dim = head_dim_});
    ghost::unary_in_place(tape, "nan_to_num_", attn_, out);
    return project(tape, to_out_, out.view(s));
}

// Layers in int8 multiply a copy of what they are given in int8, with a scale for each token.
Tensor MiniMaxVaeBlock::project(Tape& tape, const Linear& layer, const Tensor& x) const {
    if (!int8_) return layer.forward(tape, x);
    const std::int64_t rows = x.elements() / x.shape().last();
    const Tensor copy = ghost::produce(tape, OpClass::Copy, "quantize", layer.path(), x, x.shape(),
                                       ElementType::Opaque);
    const Tensor scales =
        ghost::create(tape, "quantize", layer.path(), {rows, 1}, ElementType::Float32);
    return layer.forward(tape, x);
}

// The first layer's output lives on beside its gated half.
Tensor MiniMaxVaeBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor both = project(tape, w1_, x);
    const Tensor half = both.view(both.shape().with_last(both.shape().last() / 2));
    const Tensor active = ghost::unary(tape, "silu", ff_, half);
    ghost::binary_in_place(tape, "mul_", ff_, active, half);
    return project(tape, w2_, active);
}

void MiniMaxVaeBlock::add_scaled(Tape& tape, const Tensor& x, const Tensor& update) const {
    // Copied even where its type is right.
    const Tensor scale = ghost::create(tape, "_to_copy", path_, {x.shape().last()}, x.type());
    ghost::combine_in_place(tape, "addcmul_", path_, x, {&update, &scale});
}

void MiniMaxVaeBlock::forward(Tape& tape, const Tensor& x, const Tensor& table) const {
    {
        const Tensor update = [&] {
            const Tensor normal = rms_norm(tape, path_, x, Affine::Yes);
            return attend(tape, normal, table);
        }();
        add_scaled(tape, x, update);
    }
    const Tensor update = [&] {
        const Tensor normal = rms_norm(tape, path_, x, Affine::Yes);
        return feed_forward(tape, normal);
    }();
    add_scaled(tape, x, update);
}

MiniMaxVaeDecoder::MiniMaxVaeDecoder(Registry& r, const MiniMaxVaeConfig& c)
    : path_([&] {
          const Module own = r.path("decoder", "");
          // Tokens that see the whole tile, and one that is kept for training.
          r.add_own_parameters(own, "ViT3DDecoder",
                               (c.decoder_num_register_tokens + 1) * width_of(c),
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      config_(c),
      positions_([&] {
          const Module own = r.path("decoder", "pos_embed");
          r.add_computed(own, "RotaryEmbeddingND", rotated_channels_of(c) / (2 * kAxes),
                         ModuleStorage::AsNetwork);
          return own;
      }()),
      embedder_(r, r.path("decoder", "x_embedder"), c.latent_channels, width_of(c)),
      blocks_([&] {
          std::vector<MiniMaxVaeBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.decoder_num_layers));
          for (int i = 0; i < c.decoder_num_layers; ++i)
              blocks.emplace_back(r, unlisted_, fmt::format("decoder.transformer_blocks.{}", i), c);
          return blocks;
      }()),
      norm_out_(r, r.path("decoder", "norm_out"), width_of(c)),
      out_(r, r.path("decoder", "proj_out"), width_of(c),
           c.out_channels * product(c.temporal_downsample_factors) *
               product(c.spatial_downsample_factors) * product(c.spatial_downsample_factors)) {}

// Where each token lies, between -1 and 1 along each axis: [N, tokens, 3].
Tensor MiniMaxVaeDecoder::place_tokens(Tape& tape, const Tensor& z) const {
    const Shape& s = z.shape();
    const std::int64_t patches = s[kFrames] * s[kRows] * s[kColumns];
    const Tensor cells = [&] {
        std::vector<Tensor> axes;
        for (const std::size_t axis : {kFrames, kRows, kColumns}) {
            Tensor line = ghost::create(tape, "arange", path_, {s[axis]}, z.type());
            for (const std::string_view op : {"div", "mul", "sub"})
                line = ghost::unary(tape, op, path_, line);
            axes.push_back(std::move(line));
        }
        return ghost::create(tape, "stack", path_, {1, patches, kAxes}, z.type());
    }();
    return cells;
}

// A matrix of 2 x 2 for each rotated pair of a head.
Tensor MiniMaxVaeDecoder::rotations(Tape& tape, const Tensor& places) const {
    const std::int64_t tokens = places.shape()[1];
    const std::int64_t pairs = rotated_channels_of(config_) / 2;
    const Shape all{places.shape()[0], tokens, pairs};
    const Tensor angles = [&] {
        const Tensor turned = [&] {
            const Tensor wide = ghost::to_type(tape, positions_, places, ElementType::Float32);
            return ghost::unary(tape, "mul", positions_, wide);
        }();
        return ghost::produce(tape, OpClass::Elementwise, "mul", positions_, turned, all,
                              ElementType::Float32);
    }();
    const Tensor cosine = ghost::unary(tape, "cos", positions_, angles);
    const Tensor sine = ghost::unary(tape, "sin", positions_, angles);
    const Shape matrices{all[0], tokens, 1, pairs, 2, 2};
    const Tensor table = [&] {
        const Tensor negative = ghost::unary(tape, "neg", positions_, sine);
        return ghost::combine(tape, "stack", positions_, {&cosine, &negative, &sine, &cosine},
                              matrices, ElementType::Float32);
    }();
    return ghost::to_type(tape, positions_, table, places.type());
}

Tensor MiniMaxVaeDecoder::write_pixels(Tape& tape, const Tensor& tokens, const Shape& s) const {
    const Tensor patches = [&] {
        const Tensor normal = norm_out_.forward(tape, tokens);
        return out_.forward(tape, normal);
    }();
    const std::int64_t cell = product(config_.spatial_downsample_factors);
    const Shape pixels{s[0], config_.out_channels,
                       s[kFrames] * product(config_.temporal_downsample_factors), s[kRows] * cell,
                       s[kColumns] * cell};
    return ghost::clone(tape, path_, patches, pixels);
}

Tensor MiniMaxVaeDecoder::forward(Tape& tape, const Tensor& z) const {
    const Shape& s = z.shape();
    const std::int64_t patches = s[kFrames] * s[kRows] * s[kColumns];
    const std::int64_t extra = config_.decoder_num_register_tokens + 1;
    const std::int64_t width = width_of(config_);
    const Tensor tokens = [&] {
        const Tensor embedded =
            embedder_.forward_transposed(tape, z.view({s[0], patches, config_.latent_channels}));
        const std::array<Tensor, 3> parts = {
            embedded, ghost::create(tape, "_to_copy", path_, {1, extra - 1, width}, z.type()),
            ghost::create(tape, "zeros_like", path_, {s[0], 1, width}, z.type())};
        Tensor out = tape.make({s[0], patches + extra, width}, z.type(), "cat", path_);
        tape.charge(OpClass::Copy, "cat", path_, 0, 2 * out.bytes());
        return out;
    }();
    Tensor places = place_tokens(tape, z);
    const Tensor origin = ghost::create(tape, "zeros", path_, {s[0], extra, kAxes}, z.type());
    places = ghost::produce(tape, OpClass::Copy, "cat", path_, places,
                            {s[0], patches + extra, kAxes}, z.type());
    const Tensor table = rotations(tape, places);
    for (const MiniMaxVaeBlock& block : blocks_) block.forward(tape, tokens, table);
    return write_pixels(tape, tokens, s);
}

}  // namespace plimsoll::memory
