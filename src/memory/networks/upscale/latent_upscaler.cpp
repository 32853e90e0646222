// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/upscale/latent_upscaler.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <string>

namespace plimsoll::memory {

namespace {

constexpr double kThreeHalves = 1.5;  // spread by three, then every second cell of a blur

constexpr Conv3dShape kConv{.kernel = {3, 3, 3}, .stride = {}, .padding = {1, 1, 1}};

constexpr int kTaps = 5;  // of the blur, along a side

// A convolution's own copy of what does not lie together.
constexpr InputLayout layout_of(bool apart) {
    return apart ? InputLayout::Copied : InputLayout::Contiguous;
}

}  // namespace

LatentUpscaler::Block::Block(Registry& r, std::string_view where, std::int64_t channels)
    : path(r.path(where, "")),
      activation(r.path(where, "activation")),
      conv1(r, r.path(where, "conv1"), channels, channels, kConv),
      norm1(r, r.path(where, "norm1"), channels),
      conv2(r, r.path(where, "conv2"), channels, channels, kConv),
      norm2(r, r.path(where, "norm2"), channels) {}

Tensor LatentUpscaler::Block::forward(Tape& tape, const Tensor& given, Frames how) const {
    Tensor x = conv1.forward(tape, given,
                             {.padding = kConv.padding, .layout = layout_of(how == Frames::Apart)});
    x = norm1.forward(tape, x);
    x = ghost::unary(tape, "silu", activation, x);
    x = conv2.forward(tape, x);
    x = norm2.forward(tape, x);
    const Tensor sum = ghost::binary(tape, "add", path, x, given);
    return ghost::unary(tape, "silu", activation, sum);
}

LatentUpscaler::LatentUpscaler(const modelfile::LatentUpscalerConfig& config)
    : config_(config),
      root_(registry_.path("", "")),
      initial_(registry_, registry_.path("initial_conv", ""), config.in_channels,
               config.mid_channels, kConv),
      initial_norm_(registry_, registry_.path("initial_norm", ""), config.mid_channels),
      activation_(registry_.path("initial_activation", "")) {
    const std::int64_t width = config.mid_channels;
    for (int i = 0; i < config.num_blocks_per_stage; ++i)
        before_.emplace_back(registry_, fmt::format("res_blocks.{}", i), width);
    upsampler_ = registry_.path("upsampler", "");
    blur_ = registry_.path("upsampler", "blur_down");
    if (config.temporal_upsample)
        spread_in_time_.emplace(registry_, registry_.path("upsampler", "0"), width, 2 * width,
                                kConv);
    else
        spread_.emplace(registry_,
                        registry_.path("upsampler", config.rational_resampler ? "conv" : "0"),
                        width, std::int64_t{spread_by()} * spread_by() * width);
    if (config.rational_resampler)
        registry_.add_buffer(blur_, "BlurDownsample", std::int64_t{kTaps} * kTaps,
                             ModuleStorage::AsNetwork, Saved::Yes);
    for (int i = 0; i < config.num_blocks_per_stage; ++i)
        after_.emplace_back(registry_, fmt::format("post_upsample_res_blocks.{}", i), width);
    final_.emplace(registry_, registry_.path("final_conv", ""), width, config.in_channels, kConv);
}

int LatentUpscaler::spread_by() const {
    constexpr int kPlain = 2;
    if (!config_.rational_resampler) return kPlain;
    return config_.spatial_scale == kThreeHalves ? 3 : static_cast<int>(config_.spatial_scale);
}

LatentExtent LatentUpscaler::enlarged(const LatentExtent& latent) const {
    // The first frame has a cell of its own, of which one half goes.
    if (config_.temporal_upsample)
        return {.frames = 2 * latent.frames - 1, .height = latent.height, .width = latent.width};
    const bool blurs = config_.rational_resampler && config_.spatial_scale == kThreeHalves;
    const auto side = [&](int cells) {
        const int spread = spread_by() * cells;
        return blurs ? (spread - 1) / 2 + 1 : spread;
    };
    return {.frames = latent.frames, .height = side(latent.height), .width = side(latent.width)};
}

// Frame by frame: channels become neighbours.
Tensor LatentUpscaler::spread(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    const bool apart = s[2] > 1;
    const std::int64_t frames = s[0] * s[2];
    Tensor each = x.view({frames, s[1], s[3], s[4]});
    Tensor copy;  // one video's frames are a view, which the kernel copies
    if (s[0] > 1 && apart)
        each = ghost::clone(tape, upsampler_, x, each.shape());
    else if (apart)
        copy = tape.make_temporary(x.bytes(), "convolution.copy_in", spread_->path());
    const std::int64_t k = spread_by();
    Tensor wide = spread_->forward(tape, each);
    copy = {};
    Tensor larger = ghost::clone(tape, upsampler_, wide, {frames, s[1], k * s[3], k * s[4]});
    wide = {};
    if (config_.spatial_scale == kThreeHalves && config_.rational_resampler)
        larger = blur(tape, larger);
    const Shape video{s[0], s[1], s[2], larger.shape()[2], larger.shape()[3]};
    return s[0] > 1 && apart ? ghost::clone(tape, upsampler_, larger, video) : larger.view(video);
}

// Every channel by itself, with the same numbers: the kernel takes a copy of them for each.
Tensor LatentUpscaler::blur(Tape& tape, const Tensor& x) const {
    constexpr std::string_view kOp = "convolution";
    const Shape& s = x.shape();
    const std::int64_t weights = s[1] * kTaps * kTaps;
    const std::int64_t weight_bytes = weights * ghost::element_bytes(x.type());
    const Tensor copies = tape.make_temporary(weight_bytes, "convolution.copy_in", blur_);
    Tensor out =
        tape.make({s[0], s[1], (s[2] - 1) / 2 + 1, (s[3] - 1) / 2 + 1}, x.type(), kOp, blur_);
    tape.charge(OpClass::Convolution, kOp, blur_,
                ghost::saturating_product({2, s[0], out.shape()[2], out.shape()[3], weights}),
                x.bytes() + weight_bytes + out.bytes());
    return out;
}

// Channels become neighbours in time; the first frame's copy is cut off, which moves nothing.
Tensor LatentUpscaler::spread_in_time(Tape& tape, const Tensor& x) const {
    const Shape& s = x.shape();
    Tensor wide = spread_in_time_->forward(tape, x);
    const Shape doubled = s.with(2, 2 * s[2]);
    const Tensor longer = ghost::clone(tape, upsampler_, wide, doubled);
    wide = {};
    return longer.view(doubled.with(2, 2 * s[2] - 1));
}

Tensor LatentUpscaler::forward(Tape& tape, const Tensor& latent) const {
    Tensor x = initial_.forward(tape, latent);
    x = initial_norm_.forward(tape, x);
    x = ghost::unary(tape, "silu", activation_, x);
    for (const Block& block : before_) x = block.forward(tape, x, Frames::Together);
    const bool in_time = config_.temporal_upsample;
    x = in_time ? spread_in_time(tape, x) : spread(tape, x);
    const bool apart = in_time || (x.shape()[0] == 1 && x.shape()[2] > 1);
    Frames how = apart ? Frames::Apart : Frames::Together;
    for (const Block& block : after_) {
        x = block.forward(tape, x, how);
        how = Frames::Together;
    }
    return final_->forward(tape, x);
}

Result<std::shared_ptr<const LatentUpscaler>> build_latent_upscaler(
    const modelfile::LatentUpscalerConfig& c) {
    constexpr int kGroups = 32;
    const bool known_scale = !c.rational_resampler || c.spatial_scale == kThreeHalves ||
                             c.spatial_scale == 2.0 || c.spatial_scale == 4.0;
    const bool sound = within(c.in_channels, 1, kWidthMax) &&
                       within(c.mid_channels, kGroups, kWidthMax) &&
                       c.mid_channels % kGroups == 0 && within(c.num_blocks_per_stage, 1, 64);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a latent upsampler of {} channels and width {} cannot be",
                                c.in_channels, c.mid_channels));
    if (c.dims != 3 || c.spatial_upsample == c.temporal_upsample || !known_scale)
        return fail(Errc::InvalidInput,
                    "a latent upsampler of single frames, over space and time at once or by "
                    "another scale, which is not simulated");
    return std::make_shared<const LatentUpscaler>(c);
}

Walk simulate_latent_upscale(const LatentUpscaler& network, const LatentUpscaleCall& call) {
    Tape tape(tape_options(call.compute, call.compute, call.rules));
    const std::string nowhere;
    const ghost::Module statistics = &nowhere;
    const auto element = element_type(call.compute);
    const Tensor given = tape.input(
        {call.batch, network.config().in_channels, call.frames, call.height, call.width}, element);
    const auto apply = [&](const Tensor& x, std::string_view first, std::string_view second) {
        const Tensor half = ghost::unary(tape, first, statistics, x);
        return ghost::unary(tape, second, statistics, half);
    };
    const Tensor latent = apply(given, "mul", "add");
    const Tensor larger = network.forward(tape, latent);
    const Tensor result = apply(larger, "sub", "div");
    return finish_walk(tape, network, call.compute, call.rules);
}

}  // namespace plimsoll::memory
