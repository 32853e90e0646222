// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/pixel_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <bit>
#include <utility>

namespace plimsoll::memory {

namespace {

using modelfile::PixelVaeConfig;

constexpr std::int64_t kLatentsTogether = 2;  // of a chunk

VaeStyle style_of(const PixelVaeConfig& c) {
    if (c.ffactor_temporal == 0) return {ConvKind::Image, NormKind::Group};
    if (!c.refiner_vae) return {ConvKind::Video, NormKind::Group};
    return {ConvKind::Causal, NormKind::ChannelRms};
}

// The middle blocks of the videos' VAEs were built with weights for a timestep.
TimeWeights time_weights(const PixelVaeConfig& c) {
    return c.ffactor_temporal == 0 ? TimeWeights::No : TimeWeights::Yes;
}

int halvings(int factor) {
    return factor > 0 ? std::bit_width(static_cast<unsigned>(factor)) - 1 : 0;
}

// The steps between the levels on the way down, finest first; on the way up, coarsest first.
std::vector<PixelStep> steps_down(const PixelVaeConfig& c) {
    std::vector<PixelStep> steps;
    const int timeless = c.ffactor_temporal > 0 ? halvings(c.ffactor_spatial / c.ffactor_temporal)
                                                : halvings(c.ffactor_spatial);
    const auto& widths = c.block_out_channels;
    for (int i = 0; i < halvings(c.ffactor_spatial); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const bool next = at + 1 < widths.size() && c.downsample_match_channel;
        steps.push_back({.in = widths[at],
                         .out = next ? widths[at + 1] : widths[at],
                         .times = i >= timeless ? 2 : 1,
                         .kind = style_of(c).conv});
    }
    return steps;
}

std::vector<PixelStep> steps_up(const PixelVaeConfig& c) {
    std::vector<PixelStep> steps;
    const std::vector<int> widths(c.block_out_channels.rbegin(), c.block_out_channels.rend());
    for (int i = 0; i < halvings(c.ffactor_spatial); ++i) {
        const auto at = static_cast<std::size_t>(i);
        const bool next = at + 1 < widths.size() && c.upsample_match_channel;
        steps.push_back({.in = widths[at],
                         .out = next ? widths[at + 1] : widths[at],
                         .times = i < halvings(c.ffactor_temporal) ? 2 : 1,
                         .kind = style_of(c).conv});
    }
    return steps;
}

}  // namespace

PixelDownsample::PixelDownsample(Registry& r, std::string_view path, const PixelStep& step)
    : path_(r.path(path, "")),
      step_(step),
      conv_(r, r.path(path, "conv"), step.in, step.out / step.cells(), step.kind) {}

Tensor PixelDownsample::fold(Tape& tape, const Tensor& x, std::int64_t times) const {
    const Shape& s = x.shape();
    if (step_.kind == ConvKind::Image) {
        const Tensor folded = ghost::clone(tape, path_, x, {s[0], 2, 2, s[1], s[2] / 2, s[3] / 2});
        return folded.view({s[0], 4 * s[1], s[2] / 2, s[3] / 2});
    }
    const std::int64_t frames = s[2] / times;
    const Tensor folded =
        ghost::clone(tape, path_, x, {s[0], times, 2, 2, s[1], frames, s[3] / 2, s[4] / 2});
    return folded.view({s[0], times * 4 * s[1], frames, s[3] / 2, s[4] / 2});
}

Tensor PixelDownsample::mean(Tape& tape, const Tensor& folded) const {
    return ghost::produce(tape, OpClass::Normalization, "mean", path_, folded,
                          folded.shape().with(1, step_.out), folded.type());
}

Tensor PixelDownsample::forward_image(Tape& tape, const Tensor& x) const {
    const Tensor h = [&] {
        const Tensor narrow = conv_.forward(tape, path_, x, nullptr);
        return fold(tape, narrow, 1);
    }();
    const Tensor direct = fold(tape, x, 1);
    const Tensor means = mean(tape, direct);
    return ghost::binary(tape, "add", path_, h, means);
}

Tensor PixelDownsample::forward(Tape& tape, const Tensor& x, FrameCarry& carry) const {
    if (step_.kind == ConvKind::Image) return forward_image(tape, x);
    Tensor h = conv_.forward(tape, path_, x, &carry);
    Tensor direct = x;
    Tensor first;
    Tensor first_direct;
    const bool apart = step_.first_apart(carry);
    if (apart) {
        const std::int64_t rest = x.shape()[2] - 1;
        first = fold(tape, frames_view(h, 1), 1);
        first = ghost::cat(tape, path_, std::array<Tensor, 2>{first, first}, 1);
        h = frames_view(h, rest);
        first_direct = fold(tape, frames_view(x, 1), 1);
        first_direct = mean(tape, first_direct);
        direct = frames_view(x, rest);
    }
    if (h.shape()[2] == 0) return ghost::binary(tape, "add", path_, first, first_direct);
    h = fold(tape, h, step_.times);
    direct = fold(tape, direct, step_.times);
    direct = mean(tape, direct);
    if (apart) {
        h = ghost::cat(tape, path_, std::array<Tensor, 2>{first, h}, 2);
        direct = ghost::cat(tape, path_, std::array<Tensor, 2>{first_direct, direct}, 2);
    }
    return ghost::binary(tape, "add", path_, h, direct);
}

PixelUpsample::PixelUpsample(Registry& r, std::string_view path, const PixelStep& step)
    : path_(r.path(path, "")),
      step_(step),
      conv_(r, r.path(path, "conv"), step.in, step.out * step.cells(), step.kind) {}

Tensor PixelUpsample::unfold(Tape& tape, const Tensor& x, std::int64_t times) const {
    const Shape& s = x.shape();
    if (step_.kind == ConvKind::Image) {
        const Tensor dealt = ghost::clone(tape, path_, x, {s[0], s[1] / 4, s[2], 2, s[3], 2});
        return dealt.view({s[0], s[1] / 4, 2 * s[2], 2 * s[3]});
    }
    const std::int64_t channels = s[1] / (4 * times);
    const Shape unfolded{s[0], channels, s[2] * times, 2 * s[3], 2 * s[4]};
    if (s[2] == 0) return x.view(unfolded);
    const Tensor dealt =
        ghost::clone(tape, path_, x, {s[0], channels, s[2], times, s[3], 2, s[4], 2});
    return dealt.view(unfolded);
}

Tensor PixelUpsample::repeat(Tape& tape, const Tensor& x, std::int64_t repeats) const {
    const Shape& s = x.shape();
    const bool image = step_.kind == ConvKind::Image;
    const Tensor repeated = ghost::clone(tape, path_, x,
                                         image ? Shape{s[0], s[1], repeats, s[2], s[3]}
                                               : Shape{s[0], s[1], repeats, s[2], s[3], s[4]});
    return repeated.view(s.with(1, s[1] * repeats));
}

Tensor PixelUpsample::forward_image(Tape& tape, const Tensor& x) const {
    const Tensor h = [&] {
        const Tensor wide = conv_.forward(tape, path_, x, nullptr);
        return unfold(tape, wide, 1);
    }();
    const Tensor direct = [&] {
        const Tensor repeated = repeat(tape, x, step_.out * step_.cells() / step_.in);
        return unfold(tape, repeated, 1);
    }();
    return ghost::binary(tape, "add", path_, h, direct);
}

Tensor PixelUpsample::forward(Tape& tape, const Tensor& x, FrameCarry& carry) const {
    if (step_.kind == ConvKind::Image) return forward_image(tape, x);
    const std::int64_t repeats = step_.out * step_.cells() / step_.in;
    Tensor h = conv_.forward(tape, path_, x, &carry);
    Tensor direct = x;
    Tensor first;
    Tensor first_direct;
    const bool apart = step_.first_apart(carry);
    if (apart) {
        const std::int64_t rest = x.shape()[2] - 1;
        first = unfold(tape, frames_view(h, 1), 1);
        // The second half of its channels, another frame's, is let go of as a view.
        first = first.view(first.shape().with(1, first.shape()[1] / 2));
        h = frames_view(h, rest);
        first_direct = repeat(tape, frames_view(x, 1), repeats / 2);
        first_direct = unfold(tape, first_direct, 1);
        direct = frames_view(x, rest);
    }
    h = unfold(tape, h, step_.times);
    direct = repeat(tape, direct, repeats);
    direct = unfold(tape, direct, step_.times);
    if (apart) {
        h = ghost::cat(tape, path_, std::array<Tensor, 2>{first, h}, 2);
        direct = ghost::cat(tape, path_, std::array<Tensor, 2>{first_direct, direct}, 2);
    }
    return ghost::binary(tape, "add", path_, h, direct);
}

PixelVaeEncoder::PixelVaeEncoder(Registry& r, const PixelVaeConfig& c)
    : path_(r.path("encoder", "")),
      style_(style_of(c)),
      frames_per_latent_(c.ffactor_temporal),
      moments_(2 * std::int64_t{c.z_channels}),
      conv_in_(r, r.path("encoder", "conv_in"), c.in_channels, c.block_out_channels.front(),
               style_.conv) {
    std::int64_t width = c.block_out_channels.front();
    const std::vector<PixelStep> steps = steps_down(c);
    for (std::size_t i = 0; i < c.block_out_channels.size(); ++i) {
        Level& level = levels_.emplace_back();
        for (int j = 0; j < c.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("encoder.down.{}.block.{}", i, j), width,
                                      c.block_out_channels[i], style_);
            width = c.block_out_channels[i];
        }
        if (i >= steps.size()) continue;
        level.downsample.emplace(r, fmt::format("encoder.down.{}.downsample", i), steps[i]);
        width = steps[i].out;
    }
    middle_.emplace(r, "encoder.mid", width, style_, time_weights(c));
    norm_out_.emplace(r, r.path("encoder", "norm_out"), width, style_.norm);
    conv_out_.emplace(r, r.path("encoder", "conv_out"), width, moments_, style_.conv);
}

Tensor PixelVaeEncoder::run_levels(Tape& tape, Tensor x, FrameCarry& carry) const {
    for (const Level& level : levels_) {
        for (const VaeResidual& block : level.blocks) x = block.forward(tape, x, &carry);
        if (level.downsample) x = level.downsample->forward(tape, x, carry);
    }
    return x;
}

// An image as so many frames: a view, which the convolution that reads it copies.
Tensor PixelVaeEncoder::read_repeated(Tape& tape, const Tensor& image, FrameCarry& carry) const {
    constexpr std::string_view kOp = "convolution.copy_in";
    const Tensor frames = frames_view(image, frames_per_latent_);
    const Tensor copy = tape.make_temporary(frames.bytes(), kOp, path_);
    if (tape.options().casts_included)
        tape.charge(OpClass::Copy, kOp, path_, 0, image.bytes() + copy.bytes());
    return conv_in_.forward(tape, path_, frames, &carry);
}

Tensor PixelVaeEncoder::forward(Tape& tape, const Tensor& pixels) const {
    FrameCarry carry;
    // In statements of its own: what a convolution was given dies with its call.
    const auto read = [&](const Tensor& chunk) {
        Tensor h = conv_in_.forward(tape, path_, chunk, &carry);
        return h;
    };
    Tensor x = [&] {
        if (style_.conv == ConvKind::Image) return run_levels(tape, read(pixels), carry);
        if (style_.conv == ConvKind::Video)
            return run_levels(tape, read_repeated(tape, pixels, carry), carry);
        std::vector<std::int64_t> chunks = {1};
        const std::int64_t together = kLatentsTogether * frames_per_latent_;
        std::int64_t rest = (pixels.shape()[2] - 1) / frames_per_latent_ * frames_per_latent_;
        for (; rest > 0; rest -= together) chunks.push_back(std::min(rest, together));
        std::vector<Tensor> results;
        for (std::size_t i = 0; i < chunks.size(); ++i) {
            carry.start_chunk(i, chunks.size(), chunks[i] < pixels.shape()[2]);
            results.push_back(run_levels(tape, read(frames_view(pixels, chunks[i])), carry));
        }
        return join_chunks(tape, path_, std::move(results));
    }();
    x = middle_->forward(tape, x);
    const Tensor skip = ghost::produce(tape, OpClass::Normalization, "mean", path_, x,
                                       x.shape().with(1, moments_), x.type());
    const Tensor moments = [&] {
        Tensor h = norm_out_->forward(tape, x);
        h = ghost::unary(tape, "silu", path_, h);
        return conv_out_->forward(tape, path_, std::move(h), nullptr);
    }();
    return ghost::binary(tape, "add", path_, moments, skip);
}

PixelVaeDecoder::PixelVaeDecoder(Registry& r, const PixelVaeConfig& c)
    : path_(r.path("decoder", "")),
      style_(style_of(c)),
      repeats_(c.block_out_channels.back() / c.z_channels),
      conv_in_(r, r.path("decoder", "conv_in"), c.z_channels, c.block_out_channels.back(),
               style_.conv),
      middle_(r, "decoder.mid", c.block_out_channels.back(), style_, time_weights(c)) {
    const std::vector<int> widths(c.block_out_channels.rbegin(), c.block_out_channels.rend());
    const std::vector<PixelStep> steps = steps_up(c);
    std::int64_t width = widths.front();
    for (std::size_t i = 0; i < widths.size(); ++i) {
        Level& level = levels_.emplace_back();
        for (int j = 0; j <= c.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("decoder.up.{}.block.{}", i, j), width,
                                      widths[i], style_);
            width = widths[i];
        }
        if (i >= steps.size()) continue;
        level.upsample.emplace(r, fmt::format("decoder.up.{}.upsample", i), steps[i]);
        width = steps[i].out;
    }
    norm_out_.emplace(r, r.path("decoder", "norm_out"), width, style_.norm);
    conv_out_.emplace(r, r.path("decoder", "conv_out"), width, c.out_channels, style_.conv);
}

Tensor PixelVaeDecoder::run_levels(Tape& tape, Tensor x, FrameCarry& carry) const {
    for (const Level& level : levels_) {
        for (const VaeResidual& block : level.blocks) x = block.forward(tape, x, &carry);
        if (level.upsample) x = level.upsample->forward(tape, x, carry);
    }
    x = norm_out_->forward(tape, x);
    x = ghost::unary(tape, "silu", path_, x);
    return conv_out_->forward(tape, path_, std::move(x), &carry);
}

Tensor PixelVaeDecoder::forward(Tape& tape, const Tensor& z) const {
    Tensor x = [&] {
        const Tensor wide = conv_in_.forward(tape, path_, z, nullptr);
        const Shape& s = z.shape();
        const Tensor repeated =
            ghost::clone(tape, path_, z,
                         s.rank() == 4 ? Shape{s[0], s[1], repeats_, s[2], s[3]}
                                       : Shape{s[0], s[1], repeats_, s[2], s[3], s[4]});
        return ghost::binary(tape, "add", path_, wide, repeated);
    }();
    x = middle_.forward(tape, x);
    FrameCarry carry;
    if (style_.conv == ConvKind::Image) return run_levels(tape, std::move(x), carry);
    // The middle's result lives on beside its parts.
    if (style_.conv == ConvKind::Video) return run_levels(tape, x, carry);
    const std::int64_t frames = x.shape()[2];
    const auto chunks =
        static_cast<std::size_t>((frames + kLatentsTogether - 1) / kLatentsTogether);
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < chunks; ++i) {
        carry.start_chunk(i, chunks, chunks > 1);
        const std::int64_t done = static_cast<std::int64_t>(i) * kLatentsTogether;
        results.push_back(
            run_levels(tape, frames_view(x, std::min(kLatentsTogether, frames - done)), carry));
    }
    x = {};
    return join_chunks(tape, path_, std::move(results));
}

PixelVaeNetwork::PixelVaeNetwork(const PixelVaeConfig& c)
    : config_(c),
      encoder_(registry_, c),
      decoder_(registry_, c),
      regularization_(registry_.path("encoder.regul", "")) {}

Tensor PixelVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    return decoder_.forward(tape, z);
}

Tensor PixelVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    const Tensor moments = encoder_.forward(tape, pixels);
    return posterior_mean(tape, regularization_, moments);
}

Result<std::shared_ptr<const PixelVaeNetwork>> build_pixel_vae(const PixelVaeConfig& c) {
    constexpr int kGroups = 32;
    const auto is_factor = [](int factor, int max) {
        return within(factor, 1, max) && std::has_single_bit(static_cast<unsigned>(factor));
    };
    bool sound = !c.block_out_channels.empty() && c.block_out_channels.size() <= 8 &&
                 within(c.in_channels, 1, 64) && within(c.out_channels, 1, 64) &&
                 within(c.z_channels, 1, 4096) && within(c.num_res_blocks, 1, 64) &&
                 is_factor(c.ffactor_spatial, 128) &&
                 (c.ffactor_temporal == 0 || is_factor(c.ffactor_temporal, c.ffactor_spatial));
    for (const int width : c.block_out_channels)
        sound = sound && within(width, kGroups, 1 << 13) && width % kGroups == 0;
    sound = sound && c.block_out_channels.back() % (2 * c.z_channels) == 0 &&
            halvings(c.ffactor_spatial) <= static_cast<int>(c.block_out_channels.size());
    if (sound) {
        for (const PixelStep& step : steps_down(c))
            sound = sound && step.out % step.cells() == 0 &&
                    step.in * 4 % step.out == 0;  // a first frame has 4 cells
        for (const PixelStep& step : steps_up(c)) sound = sound && step.out * 4 % step.in == 0;
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a VAE of {} levels with {} latent channels, {} pixels and {} "
                                "frames to a cell cannot be",
                                c.block_out_channels.size(), c.z_channels, c.ffactor_spatial,
                                c.ffactor_temporal));
    return std::make_shared<const PixelVaeNetwork>(c);
}

namespace {

Shape extent(const PixelVaeConfig& c, std::int64_t batch, std::int64_t channels,
             std::int64_t frames, std::int64_t rows, std::int64_t columns) {
    if (c.ffactor_temporal == 0) return {batch, channels, rows, columns};
    return {batch, channels, frames, rows, columns};
}

}  // namespace

bool PixelVaeNetwork::knows(const VaeCall& call) const {
    constexpr int kPartsSince = 33000;  // ComfyUI 0.33.0
    const bool video = config_.ffactor_temporal > 0;
    if (call.frames > 1 && (!video || !config_.refiner_vae)) return false;
    return !video || call.rules.comfyui_minor_key >= kPartsSince;
}

Walk PixelVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const PixelVaeConfig& c = config_;
    const int frames = c.ffactor_temporal > 0 ? (call.frames - 1) / c.ffactor_temporal + 1 : 1;
    const Tensor z =
        tape.input(extent(c, call.batch, c.z_channels, frames, call.height / c.ffactor_spatial,
                          call.width / c.ffactor_spatial),
                   element_type(call.compute));
    const Tensor video = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk PixelVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const PixelVaeConfig& c = config_;
    const Tensor pixels =
        tape.input(extent(c, call.batch, c.in_channels, call.frames, call.height, call.width),
                   element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
