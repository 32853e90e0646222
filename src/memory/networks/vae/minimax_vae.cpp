// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/minimax_vae.h"
#include "memory/networks/calls.h"
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
constexpr int kGroups = 32;
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

std::int64_t up_to_multiple(std::int64_t n, std::int64_t of) {
    return (n + of - 1) / of * of;
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
