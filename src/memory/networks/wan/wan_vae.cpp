// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kFramesPerChunk = 4;  // pixels' frames of one latent frame
constexpr std::int64_t kFramesTogether = 2;  // in the lean way of running Wan 2.1's
constexpr std::size_t kLevels = 4;
constexpr Conv3dShape kCausal3{.kernel = {3, 3, 3}, .stride = {}, .padding = {1, 1, 1}};

// Folded pixels count as colours.
std::int64_t colours_in(const modelfile::WanVaeConfig& c) {
    return std::int64_t{c.image_channels} * c.patch_size * c.patch_size;
}
std::int64_t colours_out(const modelfile::WanVaeConfig& c) {
    return std::int64_t{c.conv_out_channels} * c.patch_size * c.patch_size;
}

// Frames of a longer tensor: a view.
WanFrames some_frames(const Tensor& x, std::int64_t frames) {
    return {x.view(x.shape().with(2, frames)), frames < x.shape()[2]};
}

}  // namespace

WanLevel::WanLevel(Registry& r, std::string_view path, std::string_view list, int first,
                   const Shape& shape)
    : shape_(shape),
      path_(shape.nested ? r.path(path, fmt::format("{}.{}", list, first)) : r.path(path, "")),
      shortcut_path_(r.path(*path_, "avg_shortcut")) {
    const auto layer = [&](int i) {
        return shape.nested ? fmt::format("{}.{}.{}", *path_, list, i)
                            : fmt::format("{}.{}.{}", path, list, first + i);
    };
    std::int64_t width = shape.in;
    for (int i = 0; i < shape.blocks; ++i) {
        blocks_.emplace_back(r, layer(i), width, shape.out);
        width = shape.out;
    }
    if (shape.resampling)
        resample_.emplace(r, layer(shape.blocks), width, shape.resampled, *shape.resampling);
}

WanFrames WanLevel::forward(Tape& tape, WanFrames x, WanCache* cache, bool first_chunk) const {
    WanFrames h = x;
    if (!shape_.nested) x = {};
    for (const WanResidual& block : blocks_) h = block.forward(tape, h, cache);
    if (resample_) h = resample_->forward(tape, h, cache);
    if (!h.values.defined() || !shape_.nested || (!shape_.averages && !shape_.resampling)) return h;
    const Tensor direct = shape_.averages ? mean_shortcut(tape, x.values)
                                          : repeat_shortcut(tape, x.values, first_chunk);
    h.values = ghost::binary(tape, "add", path_, h.values, direct.view(h.values.shape()));
    return h;
}

// Channels repeated and dealt out over the new frames, rows and columns.
Tensor WanLevel::repeat_shortcut(Tape& tape, const Tensor& x, bool first_chunk) const {
    const std::int64_t times = *shape_.resampling == WanResampling::Up3d ? 2 : 1;
    const auto& s = x.shape();
    const std::int64_t repeats = shape_.resampled * times * 4 / s[1];
    const Tensor dealt = [&] {
        const Tensor repeated =
            ghost::clone(tape, shortcut_path_, x, {s[0], s[1], repeats, s[2], s[3], s[4]});
        return ghost::clone(tape, shortcut_path_, repeated,
                            {s[0], shape_.resampled, s[2], times, s[3], 2, s[4], 2});
    }();
    const std::int64_t frames = s[2] * times - (first_chunk ? times - 1 : 0);
    return dealt.view({s[0], shape_.resampled, frames, 2 * s[3], 2 * s[4]});
}

// Blocks of frames, rows and columns as channels, then means over groups of them.
Tensor WanLevel::mean_shortcut(Tape& tape, const Tensor& x) const {
    const std::int64_t times =
        shape_.resampling && *shape_.resampling == WanResampling::Down3d ? 2 : 1;
    const std::int64_t sides = shape_.resampling ? 2 : 1;
    const auto& s = x.shape();
    const std::int64_t frames = (s[2] + times - 1) / times;
    Tensor blocks = ghost::produce(tape, OpClass::Copy, "constant_pad_nd", shortcut_path_, x,
                                   s.with(2, frames * times), x.type());
    const std::int64_t rows = s[3] / sides;
    const std::int64_t columns = s[4] / sides;
    if (times * sides > 1)
        blocks = ghost::clone(tape, shortcut_path_, blocks,
                              {s[0], s[1], times, sides, sides, frames, rows, columns});
    const std::int64_t out = shape_.resampling ? shape_.resampled : shape_.out;
    return ghost::produce(tape, OpClass::Normalization, "mean", shortcut_path_, blocks,
                          {s[0], out, frames, rows, columns}, x.type());
}

WanVaeEnd::WanVaeEnd(Registry& r, std::string_view path, std::int64_t in, std::int64_t out)
    : norm_(r, r.path(path, "0"), in),
      silu_(r.path(path, "1")),
      conv_(r, r.path(path, "2"), in, out, kCausal3) {}

void WanVaeEnd::forward(Tape& tape, Module owner, WanFrames& x, WanCache* cache) const {
    x.values = norm_.forward(tape, x.values);
    x.values = ghost::unary(tape, "silu", silu_, x.values);
    convolve_cached(tape, owner, conv_, x, cache);
}

WanVaeMiddle::WanVaeMiddle(Registry& r, std::string_view path, std::int64_t channels)
    : block1_(r, fmt::format("{}.0", path), channels, channels),
      attention_(r, fmt::format("{}.1", path), channels),
      block2_(r, fmt::format("{}.2", path), channels, channels) {}

void WanVaeMiddle::forward(Tape& tape, WanFrames& x, WanCache* cache) const {
    x = block1_.forward(tape, x, cache);
    x = attention_.forward(tape, x);
    x = block2_.forward(tape, x, cache);
}

WanVaeEncoder::WanVaeEncoder(Registry& r, const modelfile::WanVaeConfig& c)
    : path_(r.path("encoder", "")),
      conv_in_(r, r.path("encoder", "conv1"), colours_in(c), c.dim, kCausal3) {
    std::int64_t width = c.dim;
    int layer = 0;
    for (std::size_t i = 0; i < kLevels; ++i) {
        const bool last = i + 1 == kLevels;
        WanLevel::Shape shape{.in = width,
                              .out = std::int64_t{c.dim} * c.dim_mult[i],
                              .blocks = c.num_res_blocks,
                              .resampling = {},
                              .resampled = std::int64_t{c.dim} * c.dim_mult[i],
                              .nested = c.avg_shortcuts,
                              .averages = c.avg_shortcuts};
        if (!last)
            shape.resampling =
                c.temperal_downsample[i] != 0 ? WanResampling::Down3d : WanResampling::Down2d;
        levels_.emplace_back(r, "encoder", "downsamples",
                             c.avg_shortcuts ? static_cast<int>(i) : layer, shape);
        layer += c.num_res_blocks + (last ? 0 : 1);
        width = shape.out;
    }
    middle_.emplace(r, "encoder.middle", width);
    head_.emplace(r, "encoder.head", width, 2 * std::int64_t{c.z_dim});
}

Tensor WanVaeEncoder::forward(Tape& tape, const WanFrames& pixels, WanCache* cache) const {
    WanFrames x = pixels;
    convolve_cached(tape, path_, conv_in_, x, cache);
    for (const WanLevel& level : levels_) {
        WanFrames in = std::move(x);
        x = level.forward(tape, std::move(in), cache, false);
        if (!x.values.defined()) return {};
    }
    middle_->forward(tape, x, cache);
    head_->forward(tape, path_, x, cache);
    return x.values;
}

WanVaeDecoder::WanVaeDecoder(Registry& r, const modelfile::WanVaeConfig& c)
    : path_(r.path("decoder", "")),
      conv_in_(r, r.path("decoder", "conv1"), c.z_dim,
               std::int64_t{c.dec_dim} * c.dim_mult[kLevels - 1], kCausal3),
      middle_(r, "decoder.middle", std::int64_t{c.dec_dim} * c.dim_mult[kLevels - 1]) {
    std::int64_t width = std::int64_t{c.dec_dim} * c.dim_mult[kLevels - 1];
    int layer = 0;
    for (std::size_t i = 0; i < kLevels; ++i) {
        const bool last = i + 1 == kLevels;
        const std::int64_t out = std::int64_t{c.dec_dim} * c.dim_mult[kLevels - 1 - i];
        WanLevel::Shape shape{.in = width,
                              .out = out,
                              .blocks = c.num_res_blocks + 1,
                              .resampling = {},
                              // Wan 2.1 halves the channels here.
                              .resampled = c.avg_shortcuts ? out : out / 2,
                              .nested = c.avg_shortcuts,
                              .averages = false};
        if (!last)
            shape.resampling =
                c.temperal_downsample[2 - i] != 0 ? WanResampling::Up3d : WanResampling::Up2d;
        levels_.emplace_back(r, "decoder", "upsamples",
                             c.avg_shortcuts ? static_cast<int>(i) : layer, shape);
        layer += shape.blocks + (last ? 0 : 1);
        width = last ? out : shape.resampled;
    }
    head_.emplace(r, "decoder.head", width, colours_out(c));
}

Tensor WanVaeDecoder::forward(Tape& tape, const WanFrames& z, WanCache* cache,
                              bool first_chunk) const {
    WanFrames x = z;
    convolve_cached(tape, path_, conv_in_, x, cache);
    middle_.forward(tape, x, cache);
    for (const WanLevel& level : levels_) {
        WanFrames in = std::move(x);
        x = level.forward(tape, std::move(in), cache, first_chunk);
    }
    head_->forward(tape, path_, x, cache);
    return x.values;
}

// ComfyUI's later way of running Wan 2.1's: at most two frames pass the larger levels at a time,
// and each part of the result is kept until all are there.
void WanVaeDecoder::forward_lean(Tape& tape, const WanFrames& z, WanCache* cache,
                                 std::vector<Tensor>& chunks) const {
    WanFrames x = z;
    convolve_cached(tape, path_, conv_in_, x, cache);
    middle_.forward(tape, x, cache);
    run_levels(tape, 0, x, cache, chunks);  // the middle's result lives on in the caller's frame
}

void WanVaeDecoder::run_levels(Tape& tape, std::size_t index, WanFrames x, WanCache* cache,
                               std::vector<Tensor>& chunks) const {
    for (; index < levels_.size(); ++index) {
        WanFrames in = std::move(x);
        x = levels_[index].forward(tape, std::move(in), cache, false);
        const std::int64_t frames = x.values.shape()[2];
        if (cache == nullptr || frames <= kFramesTogether) continue;
        const std::size_t next = cache->next;
        for (std::int64_t i = 0; i < frames; i += kFramesTogether) {
            cache->next = next;
            const std::int64_t together = std::min(kFramesTogether, frames - i);
            run_levels(tape, index + 1, some_frames(x.values, together), cache, chunks);
        }
        return;
    }
    head_->forward(tape, path_, x, cache);
    chunks.push_back(x.values);
}

WanVaeNetwork::WanVaeNetwork(const modelfile::WanVaeConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      encoder_(registry_, c),
      conv1_(registry_, registry_.path("conv1", ""), 2 * std::int64_t{c.z_dim},
             2 * std::int64_t{c.z_dim}, Conv3dShape{}),
      conv2_(registry_, registry_.path("conv2", ""), c.z_dim, c.z_dim, Conv3dShape{}),
      decoder_(registry_, c) {}

bool WanVaeNetwork::is_lean(const Tape& tape) const {
    return since_033(tape) && !config_.avg_shortcuts;
}

// The first latent frame, then one after the other, or two at a time.
Tensor WanVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const std::int64_t frames = z.shape()[2];
    const bool lean = is_lean(tape);
    WanCache cache;
    cache.copies = !lean;
    WanCache* const used = lean && frames == 1 ? nullptr : &cache;
    const Tensor x = conv2_.forward(tape, {z, false});
    if (lean) {
        std::vector<Tensor> chunks;
        for (std::int64_t done = 0, now = 1; done < frames; done += now) {
            now = done == 0 ? 1 : std::min(kFramesTogether, frames - done);
            cache.next = 0;
            decoder_.forward_lean(tape, some_frames(x, now), used, chunks);
        }
        return ghost::cat(tape, root_, chunks, 2);
    }
    Tensor out;
    Tensor chunk;
    for (std::int64_t i = 0; i < frames; ++i) {  // what was decoded before is copied each time
        cache.next = 0;
        if (i == 0) {
            out = decoder_.forward(tape, some_frames(x, 1), used, true);
            continue;
        }
        chunk = decoder_.forward(tape, some_frames(x, 1), used, false);
        out = ghost::cat(tape, root_, std::array<Tensor, 2>{out, chunk}, 2);
    }
    if (config_.patch_size > 1) {
        const auto s = out.shape();
        const std::int64_t p = config_.patch_size;
        out = ghost::clone(tape, root_, out,
                           {s[0], config_.conv_out_channels, s[2], s[3], p, s[4], p})
                  .view({s[0], config_.conv_out_channels, s[2], s[3] * p, s[4] * p});
    }
    return out;
}

// The first frame, then four at a time, or two of which the smaller levels wait for a second pair.
Tensor WanVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    Tensor x = pixels;
    if (config_.patch_size > 1) {
        const Shape& s = pixels.shape();
        const std::int64_t p = config_.patch_size;
        x = ghost::clone(tape, root_, pixels, {s[0], s[1], p, p, s[2], s[3] / p, s[4] / p})
                .view({s[0], s[1] * p * p, s[2], s[3] / p, s[4] / p});
    }
    const bool lean = is_lean(tape);
    WanCache cache;
    cache.copies = !lean;
    WanCache* const used = lean && x.shape()[2] == 1 ? nullptr : &cache;
    const std::int64_t frames = (x.shape()[2] - 1) / kFramesPerChunk * kFramesPerChunk + 1;
    Tensor out = encoder_.forward(tape, some_frames(x, 1), used);
    Tensor chunk;
    const std::int64_t together = lean ? kFramesTogether : kFramesPerChunk;
    for (std::int64_t done = 1; done < frames; done += together) {
        cache.next = 0;
        cache.last_chunk = done + together >= frames;
        chunk = encoder_.forward(tape, some_frames(x, together), used);
        if (!chunk.defined()) continue;
        out = ghost::cat(tape, root_, std::array<Tensor, 2>{out, chunk}, 2);
    }
    return conv1_.forward(tape, {out, false});  // mean and deviation; the mean is a view
}

Result<std::shared_ptr<const WanVaeNetwork>> build_wan_vae(const modelfile::WanVaeConfig& c) {
    bool sound = within(c.dim, 1, kWidthMax) && within(c.dec_dim, 2, kWidthMax) &&
                 within(c.z_dim, 1, kWidthMax) && within(c.num_res_blocks, 1, 64) &&
                 within(c.patch_size, 1, 16) && c.dec_dim % 2 == 0 &&
                 within(c.image_channels, 1, 64) && within(c.conv_out_channels, 1, 64);
    for (const int mult : c.dim_mult) sound = sound && within(mult, 1, 64);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a Wan VAE of width {} and {} with {} latent channels cannot be",
                                c.dim, c.dec_dim, c.z_dim));
    return std::make_shared<const WanVaeNetwork>(c);
}

Walk WanVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::int64_t factor = downscale();
    const Tensor z = tape.input({call.batch, config_.z_dim, (call.frames - 1) / kFramesPerChunk + 1,
                                 call.height / factor, call.width / factor},
                                element_type(call.compute));
    const Tensor video = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk WanVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, config_.image_channels, call.frames, call.height, call.width},
                   element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
