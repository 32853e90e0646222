// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/minimax_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/dit/split_half_rope.h"
#include "memory/networks/limits.h"
#include "memory/networks/vae/video_layers.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <functional>
#include <numeric>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::MiniMaxVaeConfig;

namespace {

// From the published configuration, where they are no members.
constexpr std::int64_t kTile = 256;    // pixels along a side
constexpr std::int64_t kOverlap = 64;  // pixels that neighbouring tiles share at least
constexpr std::int64_t kGroups = 32;
constexpr std::int64_t kAxes = 3;
constexpr std::int64_t kColours = 3;
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

std::int64_t up_to_multiple(std::int64_t n, std::int64_t of) {
    return (n + of - 1) / of * of;
}

// A layer that may be stored in int8, whose weights are then written here rather than by it.
Linear block_linear(Registry& r, Registry& unlisted, const MiniMaxVaeConfig& c, Module path,
                    std::int64_t in, std::int64_t out) {
    if (!c.int8_decoder) return {r, path, in, out};
    r.add_int8_linear(path, in, out);
    return {unlisted, path, in, out};
}

// Tiles along one axis, in pixels.
struct Tiling {
    std::vector<std::int64_t> overlaps;  // with the next tile
    std::int64_t tile = 0;

    [[nodiscard]] std::size_t count() const { return overlaps.size() + 1; }
};

// As few tiles as overlap by as much as they must; what is left over is shared among the overlaps
// in whole cells.
Tiling tiles_over(std::int64_t length, std::int64_t cell) {
    if (length <= kTile) return {.overlaps = {}, .tile = length};
    std::int64_t count = (length + kTile - 1) / kTile;
    while (kTile * count - kOverlap * (count - 1) < length) ++count;
    const auto overlaps = static_cast<std::size_t>(count - 1);
    Tiling tiling{.overlaps = std::vector<std::int64_t>(overlaps, kOverlap), .tile = kTile};
    const std::int64_t cells = (kTile * count - kOverlap * (count - 1) - length) / cell;
    for (std::int64_t i = 0; i < cells; ++i)
        tiling.overlaps[static_cast<std::size_t>(i) % overlaps] += cell;
    return tiling;
}

// The end of `before` fades into the beginning of `after` along `axis`.
Tensor blend(Tape& tape, Module module, const Tensor& before, const Tensor& after,
             std::int64_t extent, std::size_t axis) {
    extent = std::min({extent, before.shape()[axis], after.shape()[axis]});
    const Tensor positions = ghost::create(tape, "arange", module, {extent}, after.type());
    const Tensor falling = [&] {
        const Tensor part = ghost::unary(tape, "div", module, positions);
        return ghost::unary(tape, "rsub", module, part);
    }();
    const Tensor rising = ghost::unary(tape, "div", module, positions);
    const Tensor end = before.view(before.shape().with(axis, extent));
    const Tensor start = after.view(after.shape().with(axis, extent));
    const Tensor blended = [&] {
        const Tensor fading = ghost::binary(tape, "mul", module, end, falling);
        const Tensor coming = ghost::binary(tape, "mul", module, start, rising);
        return ghost::binary(tape, "add", module, fading, coming);
    }();
    const std::int64_t rest = after.shape()[axis] - extent;
    if (rest == 0) return blended;
    const std::array<Tensor, 2> parts = {blended, after.view(after.shape().with(axis, rest))};
    return ghost::cat(tape, module, parts, axis);
}

Tensor shorten(const Tensor& x, std::size_t axis, std::int64_t by) {
    return x.view(x.shape().with(axis, x.shape()[axis] - by));
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

MiniMaxVaeNetwork::MiniMaxVaeNetwork(const MiniMaxVaeConfig& c)
    : config_(c),
      cell_(product(c.spatial_downsample_factors)),
      frames_(product(c.temporal_downsample_factors)),
      path_([&] {
          const Module own = registry_.path("", "");
          // Mean and deviation of the latent's channels and, not in the file, of the colours.
          registry_.add_own_parameters(own, "MiniMaxH3VideoVAE",
                                       2 * (std::int64_t{c.latent_channels} + kColours),
                                       ModuleStorage::AsNetwork, 2 * kColours);
          return own;
      }()),
      encoder_(registry_, c),
      quant_conv_(registry_, registry_.path("", "quant_conv"), 2 * std::int64_t{c.latent_channels},
                  2 * std::int64_t{c.latent_channels}, {}),
      post_quant_conv_(registry_, registry_.path("", "post_quant_conv"), c.latent_channels,
                       c.latent_channels, {}),
      decoder_(registry_, c) {}

VaeGrid MiniMaxVaeNetwork::grid() const {
    return {
        .pixels_per_cell = static_cast<int>(cell_),
        .frames_per_cell = static_cast<int>(frames_),
        .latent_channels = config_.latent_channels,
        .clip_frames = config_.clip_length,
        .clip_latents = static_cast<int>(up_to_multiple(config_.clip_length, frames_) / frames_)};
}

// The network came with ComfyUI 0.33.0.
bool MiniMaxVaeNetwork::knows(const VaeCall& call) const {
    return call.rules.comfyui_minor_key >= kComfy033;
}

MiniMaxVaeNetwork::Clips MiniMaxVaeNetwork::clips_of(std::int64_t latent_frames) const {
    const std::int64_t chunk = up_to_multiple(config_.clip_length, frames_) / frames_;
    const std::int64_t dropped = latent_frames + config_.token_drop;
    Clips clips{.padding = up_to_multiple(dropped, chunk) - dropped, .count = 0};
    clips.count = (dropped + clips.padding) / chunk - (config_.token_drop > 0 ? 1 : 0);
    if (clips.count >= 1) return clips;
    return {.padding = clips.padding + chunk, .count = clips.count + 1};
}

// Moments of a clip, tile by tile.
Tensor MiniMaxVaeNetwork::encode_clip(Tape& tape, const Tensor& clip) const {
    const Shape& s = clip.shape();
    const Tiling down = tiles_over(s[kRows], cell_);
    const Tiling across = tiles_over(s[kColumns], cell_);
    std::vector<std::vector<Tensor>> rows(down.count());
    for (std::vector<Tensor>& row : rows) {
        for (std::size_t j = 0; j < across.count(); ++j) {
            const Tensor tile = clip.view(s.with(kRows, down.tile).with(kColumns, across.tile));
            const Tensor moments = encoder_.forward(tape, tile);
            row.push_back(quant_conv_.forward(tape, moments));
        }
    }
    std::vector<Tensor> joined;
    for (std::size_t i = 0; i < rows.size(); ++i) {
        std::vector<Tensor> parts;
        for (std::size_t j = 0; j < rows[i].size(); ++j) {
            Tensor tile = rows[i][j];
            if (i > 0)
                tile =
                    blend(tape, path_, rows[i - 1][j], tile, down.overlaps[i - 1] / cell_, kRows);
            if (j > 0)
                tile = blend(tape, path_, rows[i][j - 1], tile, across.overlaps[j - 1] / cell_,
                             kColumns);
            if (i + 1 < rows.size()) tile = shorten(tile, kRows, down.overlaps[i] / cell_);
            if (j + 1 < rows[i].size()) tile = shorten(tile, kColumns, across.overlaps[j] / cell_);
            parts.push_back(std::move(tile));
        }
        joined.push_back(ghost::cat(tape, path_, parts, kColumns));
    }
    return ghost::cat(tape, path_, joined, kRows);
}

// Pixels of a clip: each tile's is blended with the ends of those before it, which are kept apart,
// and written to the whole.
Tensor MiniMaxVaeNetwork::decode_clip(Tape& tape, const Tensor& z) const {
    const Shape& s = z.shape();
    const Tiling down = tiles_over(s[kRows] * cell_, cell_);
    const Tiling across = tiles_over(s[kColumns] * cell_, cell_);
    const Shape cells = s.with(kRows, down.tile / cell_).with(kColumns, across.tile / cell_);
    Tensor whole;
    std::vector<Tensor> above;
    Tensor tile;
    const auto end_of = [&](std::size_t axis, std::int64_t extent) {
        return ghost::clone(tape, path_, tile.view(tile.shape().with(axis, extent)),
                            tile.shape().with(axis, extent));
    };
    for (std::size_t i = 0; i < down.count(); ++i) {
        std::vector<Tensor> below;
        Tensor left;
        Tensor next_left;
        for (std::size_t j = 0; j < across.count(); ++j) {
            tile = [&] {
                const Tensor latent = post_quant_conv_.forward(tape, z.view(cells));
                return decoder_.forward(tape, latent);
            }();
            if (i + 1 < down.count()) below.push_back(end_of(kRows, down.overlaps[i]));
            next_left = j + 1 < across.count() ? end_of(kColumns, across.overlaps[j]) : Tensor();
            if (i > 0) tile = blend(tape, path_, above[j], tile, down.overlaps[i - 1], kRows);
            if (j > 0) tile = blend(tape, path_, left, tile, across.overlaps[j - 1], kColumns);
            left = next_left;
            if (i + 1 < down.count()) tile = shorten(tile, kRows, down.overlaps[i]);
            if (j + 1 < across.count()) tile = shorten(tile, kColumns, across.overlaps[j]);
            if (!whole.defined())
                whole = ghost::create(
                    tape, "empty", path_,
                    tile.shape().with(kRows, s[kRows] * cell_).with(kColumns, s[kColumns] * cell_),
                    tile.type());
            ghost::binary_in_place(tape, "copy_", path_, tile, tile);
        }
        above = std::move(below);
    }
    return whole;
}

// Colours in fp32, then off the card.
void MiniMaxVaeNetwork::finish_pixels(Tape& tape, const Tensor& pixels) const {
    const auto colours = [&] {
        return ghost::create(tape, "_to_copy", path_, {1, kColours, 1, 1, 1}, ElementType::Float32);
    };
    const Tensor scaled = [&] {
        const Tensor deviation = colours();
        return ghost::produce(tape, OpClass::Elementwise, "mul", path_, pixels, pixels.shape(),
                              ElementType::Float32);
    }();
    {
        const Tensor mean = colours();
        ghost::binary_in_place(tape, "add_", path_, scaled, mean);
    }
    ghost::unary_in_place(tape, "clamp_", path_, scaled);
}

void MiniMaxVaeNetwork::decode(Tape& tape, const Tensor& latent) const {
    Tensor z = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", path_, latent);
        return ghost::unary(tape, "add", path_, scaled);
    }();
    if (z.shape()[kFrames] == 1) {
        const Tensor pixels = decode_clip(tape, z);
        finish_pixels(tape, frames_view(pixels, 1));
        return;
    }
    const Clips clips = clips_of(z.shape()[kFrames]);
    Tensor padding;
    if (clips.padding > 0) {
        padding =
            ghost::create(tape, "repeat", path_, z.shape().with(kFrames, clips.padding), z.type());
        const std::array<Tensor, 2> parts = {z, padding};
        z = ghost::cat(tape, path_, parts, kFrames);
    }
    const std::int64_t chunk = up_to_multiple(config_.clip_length, frames_) / frames_;
    const std::int64_t ahead = chunk * frames_ - config_.clip_length;
    const std::int64_t beyond = config_.token_drop > 0 ? chunk - config_.token_drop : 0;
    const std::int64_t together = std::max<std::int64_t>(beyond * frames_ - ahead, 0);
    Tensor overlap;
    Tensor part;  // a variable of the forward's own, which lives on into the next clip
    for (std::int64_t i = 0; i < clips.count; ++i) {
        const Tensor pixels = decode_clip(tape, frames_view(z, chunk + beyond));
        part = frames_view(pixels, config_.clip_length);
        if (overlap.defined()) part = blend(tape, path_, overlap, part, together, kFrames);
        overlap = {};
        finish_pixels(tape, part);
        if (beyond == 0) continue;
        part = frames_view(pixels, together);
        overlap = ghost::clone(tape, path_, part, part.shape());
    }
    if (overlap.defined()) finish_pixels(tape, overlap);
}

Tensor MiniMaxVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    const auto normalise = [&](const Tensor& clip) {
        Tensor normal = ghost::unary(tape, "add", path_, clip);
        for (const std::string_view op : {"mul_", "sub_", "div_"})
            ghost::unary_in_place(tape, op, path_, normal);
        return normal;
    };
    const std::int64_t frames = pixels.shape()[kFrames];
    Tensor moments;
    Tensor clip;
    Tensor padding;  // variables of the forward's own
    if (frames == 1) {
        moments = encode_clip(tape, normalise(pixels));
    } else {
        std::vector<Tensor> parts;
        for (std::int64_t first = 0; first < frames; first += config_.clip_length) {
            const std::int64_t own = std::min<std::int64_t>(config_.clip_length, frames - first);
            clip = frames_view(pixels, own);
            if (own < config_.clip_length) {
                padding = ghost::create(tape, "repeat", path_,
                                        clip.shape().with(kFrames, config_.clip_length - own),
                                        clip.type());
                const std::array<Tensor, 2> joined = {clip, padding};
                clip = ghost::cat(tape, path_, joined, kFrames);
            }
            parts.push_back(encode_clip(tape, normalise(clip)));
        }
        moments = ghost::cat(tape, path_, parts, kFrames);
    }
    clip = {};
    padding = {};
    const Tensor wide = ghost::to_type(tape, path_, moments, ElementType::Float32);
    const std::int64_t kept =
        frames == 1 ? 1 : std::max<std::int64_t>(1, wide.shape()[kFrames] - config_.token_drop);
    const Tensor mean =
        wide.view(wide.shape().with(1, config_.latent_channels).with(kFrames, kept));
    const Tensor centred = ghost::unary(tape, "sub", path_, mean);
    return ghost::unary(tape, "div", path_, centred);
}

Result<std::shared_ptr<const MiniMaxVaeNetwork>> build_minimax_vae(const MiniMaxVaeConfig& c) {
    constexpr std::size_t kLevelsMax = 8;
    const std::size_t levels = c.block_out_channels.size();
    bool sound =
        levels > 0 && levels <= kLevelsMax && c.spatial_downsample_factors.size() == levels &&
        c.temporal_downsample_factors.size() == levels && within(c.in_channels, 1, 64) &&
        within(c.out_channels, 1, 64) && within(c.latent_channels, 1, 4096) &&
        within(c.layers_per_block, 1, 64) && within(c.decoder_num_layers, 1, kDepthMax) &&
        within(c.decoder_num_attention_heads, 1, 1024) &&
        within(c.decoder_attention_head_dim, 8, 1024) && c.decoder_attention_head_dim % 8 == 0 &&
        within(c.decoder_num_register_tokens, 0, 1024) && within(c.decoder_ffn_mult, 1, 64) &&
        width_of(c) <= kWidthMax && within(c.clip_length, 1, 1024);
    for (const int width : c.block_out_channels)
        sound = sound && within(width, kGroups, 1 << 14) && width % kGroups == 0;
    for (const int factor : c.spatial_downsample_factors) sound = sound && within(factor, 1, 2);
    for (const int factor : c.temporal_downsample_factors) sound = sound && within(factor, 1, 2);
    // What is dropped is less than a clip, and leaves more than the decoder's lead.
    if (sound) {
        const std::int64_t ratio = product(c.temporal_downsample_factors);
        const std::int64_t chunk = up_to_multiple(c.clip_length, ratio) / ratio;
        const std::int64_t ahead = chunk * ratio - c.clip_length;
        sound = within(c.token_drop, 0, chunk - 1) &&
                (c.token_drop == 0 || (chunk - c.token_drop) * ratio > ahead);
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a MiniMax VAE of {} levels and {} blocks of width {} cannot be",
                                levels, c.decoder_num_layers, width_of(c)));
    return std::make_shared<const MiniMaxVaeNetwork>(c);
}

Walk MiniMaxVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z =
        tape.input({call.batch, config_.latent_channels, grid().latent_frames(call.frames),
                    call.height / cell_, call.width / cell_},
                   element_type(call.compute));
    decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk MiniMaxVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, config_.in_channels, call.frames, call.height, call.width},
                   element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
