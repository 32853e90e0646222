// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/causal_layers.h"

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kCachedFrames = 2;
constexpr std::size_t kTime = 2;  // of [N, C, T, H, W]

std::int64_t frames_of(const Tensor& x) {
    return x.shape()[kTime];
}

// The last frames of `x`: a view.
Tensor last_frames(const Tensor& x, std::int64_t frames) {
    return x.view(x.shape().with(kTime, std::min(frames, frames_of(x))));
}

Tensor join_frames(Tape& tape, Module module, const Tensor& before, const Tensor& x) {
    return ghost::cat(tape, module, std::array<Tensor, 2>{before, x}, kTime);
}

// What the next chunk will see of `x`.
Tensor frames_to_keep(Tape& tape, Module owner, const Tensor& x, const Tensor& before,
                      bool copies) {
    Tensor kept = last_frames(x, kCachedFrames);
    if (copies) kept = ghost::clone(tape, owner, kept, kept.shape());
    if (copies && frames_of(kept) < kCachedFrames && before.defined())
        kept = join_frames(tape, owner, last_frames(before, 1), kept);
    return kept;
}

}  // namespace

CausalConv3d::CausalConv3d(Registry& r, Module path, std::int64_t in, std::int64_t out,
                           const Conv3dShape& shape)
    : path_(path),
      shape_(shape),
      conv_(r, path, in, out, {.kernel = shape.kernel, .stride = shape.stride},
            ModuleStorage::AsNetwork, "CausalConv3d"),
      look_back_(2 * shape.padding.frames) {}

Tensor CausalConv3d::forward(Tape& tape, const WanFrames& x, Tensor before) const {
    return since_033(tape) ? forward_joined(tape, x, std::move(before))
                           : forward_padded(tape, x, std::move(before));
}

// Joined with the cached frames, then padded on all sides: a copy even where nothing is missing.
Tensor CausalConv3d::forward_padded(Tape& tape, const WanFrames& x, Tensor before) const {
    std::int64_t missing = look_back_;
    const Tensor padded = [&] {
        Tensor in = x.values;
        if (before.defined() && look_back_ > 0) {
            in = join_frames(tape, path_, before, in);
            missing -= frames_of(before);
            before = {};
        }
        const Shape& s = in.shape();
        const Shape shape{s[0], s[1], s[2] + missing, s[3] + 2 * shape_.padding.rows,
                          s[4] + 2 * shape_.padding.columns};
        return ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, in, shape, in.type());
    }();
    // Padding by nothing keeps the layout, which the convolution's kernel does not read.
    const bool copies = x.strided && padded.elements() == x.values.elements();
    return conv_.forward(tape, padded,
                         {.layout = copies ? InputLayout::Copied : InputLayout::Contiguous});
}

// Padded by the convolution itself; frames that are missing are zeros, but for a single first frame
// the weights are cut instead.
Tensor CausalConv3d::forward_joined(Tape& tape, const WanFrames& x, Tensor before) const {
    ConvCall call{.padding = {0, shape_.padding.rows, shape_.padding.columns},
                  .layout = x.strided ? InputLayout::Copied : InputLayout::Contiguous};
    if (look_back_ == 0) return conv_.forward(tape, x.values, call);
    if (!before.defined() && frames_of(x.values) == 1) {
        call.last_frames = 1;
        return conv_.forward(tape, x.values, call);
    }
    const std::int64_t have = before.defined() ? frames_of(before) : 0;
    const Tensor joined = [&] {
        // Made even where no frame is missing.
        const Shape missing =
            x.values.shape().with(kTime, std::max<std::int64_t>(look_back_ - have, 0));
        std::vector<Tensor> parts = {x.values,
                                     ghost::create(tape, "zeros", path_, missing, x.values.type())};
        if (before.defined()) parts.push_back(before);
        return ghost::cat(tape, path_, parts, kTime);
    }();
    before = {};
    call.layout = InputLayout::Contiguous;
    return conv_.forward(tape, joined, call);
}

WanRmsNorm::WanRmsNorm(Registry& r, Module path, std::int64_t channels)
    : path_(path), channels_(channels) {
    r.add_plain(path, "RMS_norm", channels);
}

Tensor WanRmsNorm::forward(Tape& tape, const Tensor& x) const {
    Tensor y = [&] {
        Tensor norm = ghost::produce(tape, OpClass::Normalization, "linalg_vector_norm", path_, x,
                                     x.shape().with(1, 1), x.type());
        norm = ghost::unary(tape, "clamp_min", path_, norm);
        return ghost::combine(tape, "div", path_, {&x, &norm}, x.shape(), x.type());
    }();
    y = ghost::unary(tape, "mul", path_, y);
    {
        Tensor scaled = tape.make(x.shape(), x.type(), "mul", path_);
        tape.charge(OpClass::Elementwise, "mul", path_, 0,
                    y.bytes() + channels_ * ghost::element_bytes(x.type()) + scaled.bytes());
        y = std::move(scaled);
    }
    return ghost::unary(tape, "add", path_, y);
}

void convolve_cached(Tape& tape, Module owner, const CausalConv3d& conv, WanFrames& x,
                     WanCache* cache, CachedFrames use) {
    if (cache == nullptr) {
        x = {conv.forward(tape, x), false};
        return;
    }
    WanCache::Slot& slot = cache->take();
    Tensor kept = frames_to_keep(tape, owner, x.values, slot.frames, cache->copies);
    Tensor before = slot.frames;
    if (use == CachedFrames::HandedOver) slot.frames = {};
    x = {conv.forward(tape, x, std::move(before)), false};
    slot.frames = std::move(kept);
}

namespace {
constexpr Conv3dShape kCausal3{.kernel = {3, 3, 3}, .stride = {}, .padding = {1, 1, 1}};
constexpr Conv3dShape kTimeUp{.kernel = {3, 1, 1}, .stride = {}, .padding = {1, 0, 0}};
constexpr Conv3dShape kTimeDown{.kernel = {3, 1, 1}, .stride = {2, 1, 1}, .padding = {0, 0, 0}};
}  // namespace

WanResidual::WanResidual(Registry& r, std::string_view path, std::int64_t in, std::int64_t out)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "residual.0"), in),
      silu1_(r.path(path, "residual.1")),
      conv1_(r, r.path(path, "residual.2"), in, out, kCausal3),
      norm2_(r, r.path(path, "residual.3"), out),
      silu2_(r.path(path, "residual.4")),
      conv2_(r, r.path(path, "residual.6"), out, out, kCausal3) {
    if (in != out) shortcut_.emplace(r, r.path(path, "shortcut"), in, out, Conv3dShape{});
}

WanFrames WanResidual::forward(Tape& tape, const WanFrames& x, WanCache* cache) const {
    WanFrames h = x;
    h.values = norm1_.forward(tape, h.values);
    h.values = ghost::unary(tape, "silu", silu1_, h.values);
    convolve_cached(tape, path_, conv1_, h, cache, CachedFrames::HandedOver);
    h.values = norm2_.forward(tape, h.values);
    h.values = ghost::unary(tape, "silu", silu2_, h.values);
    convolve_cached(tape, path_, conv2_, h, cache, CachedFrames::HandedOver);
    const Tensor direct = shortcut_ ? shortcut_->forward(tape, x) : x.values;
    h.values = ghost::binary(tape, "add", path_, h.values, direct);
    return h;
}

namespace {

bool is_up(WanResampling mode) {
    return mode == WanResampling::Up2d || mode == WanResampling::Up3d;
}

ConvShape resample_shape(WanResampling mode) {
    return is_up(mode) ? kConv3 : ConvShape{3, 2, 0};
}

}  // namespace

WanResample::WanResample(Registry& r, std::string_view path, std::int64_t in, std::int64_t out,
                         WanResampling mode)
    : path_(r.path(path, "")),
      mode_(mode),
      resample_path_(r.path(path, "resample.0")),
      conv_(r, r.path(path, "resample.1"), in, out, resample_shape(mode)) {
    if (mode == WanResampling::Up3d)
        time_conv_.emplace(r, r.path(path, "time_conv"), in, 2 * in, kTimeUp);
    if (mode == WanResampling::Down3d)
        time_conv_.emplace(r, r.path(path, "time_conv"), in, in, kTimeDown);
}

// The first chunk keeps its single frame; later each frame becomes two.
void WanResample::double_frames(Tape& tape, WanFrames& x, WanCache& cache) const {
    WanCache::Slot& slot = cache.take();
    if (!slot.seen) {
        slot.seen = true;
        return;
    }
    Tensor kept = frames_to_keep(tape, path_, x.values, slot.frames, cache.copies);
    if (cache.copies && frames_of(kept) < kCachedFrames && !slot.frames.defined()) {
        const Tensor zeros = ghost::create_like(tape, "zeros_like", path_, kept);
        kept = join_frames(tape, path_, zeros, kept);
    }
    Tensor pairs = time_conv_->forward(tape, x, slot.frames);
    x = {};
    slot.frames = std::move(kept);
    const Shape s = pairs.shape();
    const std::int64_t channels = s[1] / 2;
    pairs = ghost::produce(tape, OpClass::Copy, "stack", path_, pairs,
                           {s[0], channels, s[2], 2, s[3], s[4]}, pairs.type());
    x.values = pairs.view({s[0], channels, 2 * s[2], s[3], s[4]});
}

// The first chunk passes; later two frames become one.
void WanResample::halve_frames(Tape& tape, WanFrames& x, WanCache& cache) const {
    const std::size_t own = cache.next;
    (void)cache.take();
    WanCache::Slot* const waiting = cache.copies ? nullptr : &cache.take();
    WanCache::Slot& slot = cache.slots[own];
    if (!slot.frames.defined()) {
        slot.frames =
            cache.copies ? ghost::clone(tape, path_, x.values, x.values.shape()) : x.values;
        return;
    }
    Tensor kept = last_frames(x.values, 1);
    if (cache.copies) kept = ghost::clone(tape, path_, kept, kept.shape());
    x = {[&] {
             const Tensor joined = join_frames(tape, path_, last_frames(slot.frames, 1), x.values);
             return time_conv_->forward(tape, {joined, false});
         }(),
         false};
    slot.frames = std::move(kept);
    if (waiting != nullptr) pair_frames(tape, x, cache, *waiting);
}

void WanResample::pair_frames(Tape& tape, WanFrames& x, WanCache& cache,
                              WanCache::Slot& waiting) const {
    const Tensor first = std::exchange(waiting.frames, {});
    if (first.defined()) x.values = join_frames(tape, path_, first, x.values);
    if (frames_of(x.values) > 1 || cache.last_chunk) return;
    waiting.frames = std::move(x.values);
    x = {};
}

Tensor WanResample::resample(Tape& tape, const Tensor& images, bool strided) const {
    const Shape& s = images.shape();
    if (!is_up(mode_)) {
        const Tensor padded =
            ghost::produce(tape, OpClass::Copy, "constant_pad_nd", resample_path_, images,
                           {s[0], s[1], s[2] + 1, s[3] + 1}, images.type());
        return conv_.forward(tape, padded);
    }
    const Tensor larger = [&] {
        Tensor copy;
        if (strided) {
            constexpr std::string_view kOp = "resample.contig";
            copy = tape.make_temporary(images.bytes(), kOp, resample_path_);
            tape.charge(OpClass::Copy, kOp, resample_path_, 0, 2 * images.bytes());
        }
        return ghost::produce(tape, OpClass::Elementwise, "_upsample_nearest_exact2d",
                              resample_path_, images, {s[0], s[1], 2 * s[2], 2 * s[3]},
                              images.type());
    }();
    return conv_.forward(tape, larger);
}

WanFrames WanResample::forward(Tape& tape, WanFrames x, WanCache* cache) const {
    if (mode_ == WanResampling::Up3d && cache != nullptr) double_frames(tape, x, *cache);
    const Shape s = x.values.shape();
    {
        // Frame by frame: a view of one video, a copy of several.
        Tensor images = x.values.view({s[0] * s[2], s[1], s[3], s[4]});
        const bool copied = s[0] > 1 && s[2] > 1;
        if (copied) images = ghost::clone(tape, path_, images, images.shape());
        x.values = {};
        images = resample(tape, images, s[2] > 1 && !copied);
        const Shape& i = images.shape();
        x = {images.view({s[0], i[1], s[2], i[2], i[3]}), s[2] > 1};
    }
    if (mode_ == WanResampling::Down3d && cache != nullptr) halve_frames(tape, x, *cache);
    return x;
}

WanVaeAttention::WanVaeAttention(Registry& r, std::string_view path, std::int64_t channels)
    : path_(r.path(path, "")),
      norm_(r, r.path(path, "norm"), channels),
      to_qkv_(r, r.path(path, "to_qkv"), channels, 3 * channels, kConv1),
      proj_(r, r.path(path, "proj"), channels, channels, kConv1) {}

WanFrames WanVaeAttention::forward(Tape& tape, const WanFrames& x) const {
    const Shape& s = x.values.shape();
    const Shape image{s[0] * s[2], s[1], s[3], s[4]};
    Tensor h = norm_.forward(tape, x.values.view(image));
    const Tensor qkv = to_qkv_.forward(tape, h);
    h = [&] {
        const std::int64_t cells = image[2] * image[3];
        const Shape tokens{image[0], 1, cells, image[1]};
        const Tensor part = qkv.view(image);
        const Tensor q = ghost::clone(tape, path_, part, tokens);
        const Tensor k = ghost::clone(tape, path_, part, tokens);
        const Tensor v = ghost::clone(tape, path_, part, tokens);
        const auto kernel = tape.options().math_attention_in_vae ? ghost::AttentionKernel::Math
                                                                 : ghost::AttentionKernel::Default;
        return ghost::attention(tape, path_, q, k, v,
                                {.batch = image[0],
                                 .heads = 1,
                                 .queries = cells,
                                 .keys = cells,
                                 .head_dim = image[1]},
                                {}, kernel)
            .view(image);
    }();
    // As in the KL VAE: the convolution copies one image into its own layout.
    const bool copies = tape.options().casts_included && image[0] == 1;
    {
        Tensor copy;
        if (copies) {
            constexpr std::string_view kOp = "convolution.copy_in";
            copy = tape.make_temporary(h.bytes(), kOp, proj_.path());
            tape.charge(OpClass::Copy, kOp, proj_.path(), 0, 2 * h.bytes());
        }
        h = proj_.forward(tape, h);
    }
    return {ghost::binary(tape, "add", path_, h.view(s), x.values), false};
}

}  // namespace plimsoll::memory
