// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/seedvr2_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

// As published: s8_c16_t4_inflation_sd3.yaml of SeedVR.
constexpr std::int64_t kLatent = 16;
constexpr std::int64_t kColours = 3;
constexpr std::array<std::int64_t, 4> kWidths = {128, 256, 512, 512};
constexpr int kBlocks = 2;            // of a level; the decoder has one more
constexpr std::size_t kTimeHalf = 2;  // levels that halve (or double) the frames
constexpr std::int64_t kPixelsPerCell = 8;
constexpr std::int64_t kFramesPerCell = 4;

constexpr StripConv::Form kPlain{};

Tensor frames_of(const Tensor& x, std::int64_t frames) {
    return x.view(x.shape().with(2, frames));
}

}  // namespace

Seedvr2VaeNetwork::Seedvr2VaeNetwork() : root_(registry_.path("", "")) {
    make_encoder();
    make_decoder();
}

void Seedvr2VaeNetwork::make_encoder() {
    Registry& r = registry_;
    encoder_.conv_in.emplace(r, r.path("encoder", "conv_in"), kColours, kWidths.front(), kPlain);
    std::int64_t width = kWidths.front();
    for (std::size_t i = 0; i < kWidths.size(); ++i) {
        Level& level = encoder_.levels.emplace_back();
        const std::string path = fmt::format("encoder.down_blocks.{}", i);
        for (int j = 0; j < kBlocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("{}.resnets.{}", path, j), width, kWidths[i]);
            width = kWidths[i];
        }
        if (i + 1 == kWidths.size()) break;
        level.resample_path = r.path(path, "downsamplers.0");
        level.time_ratio = i + 1 >= kWidths.size() - kTimeHalf ? 2 : 1;
        const bool in_time = level.time_ratio > 1;
        level.conv.emplace(r, r.path(*level.resample_path, "conv"), width, width,
                           StripConv::Form{.kernel = {in_time ? 3 : 1, 3, 3},
                                           .stride = {level.time_ratio, 2, 2},
                                           .border = 0});
    }
    encoder_.middle.emplace(r, "encoder.mid_block", width);
    encoder_.norm_out.emplace(r, r.path("encoder", "conv_norm_out"), width);
    encoder_.act = r.path("encoder", "conv_act");
    encoder_.conv_out.emplace(r, r.path("encoder", "conv_out"), width, 2 * kLatent, kPlain);
}

void Seedvr2VaeNetwork::make_decoder() {
    Registry& r = registry_;
    std::int64_t width = kWidths.back();
    decoder_.conv_in.emplace(r, r.path("decoder", "conv_in"), kLatent, width, kPlain);
    for (std::size_t i = 0; i < kWidths.size(); ++i) {
        Level& level = decoder_.levels.emplace_back();
        const std::string path = fmt::format("decoder.up_blocks.{}", i);
        const std::int64_t out = kWidths[kWidths.size() - 1 - i];
        for (int j = 0; j <= kBlocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("{}.resnets.{}", path, j), width, out);
            width = out;
        }
        if (i + 1 == kWidths.size()) break;
        level.resample_path = r.path(path, "upsamplers.0");
        level.time_ratio = i < kTimeHalf ? 2 : 1;
        level.upscale.emplace(r, r.path(*level.resample_path, "upscale_conv"), width,
                              width * 4 * level.time_ratio, Conv3dShape{.kernel = {1, 1, 1}});
        level.conv.emplace(r, r.path(*level.resample_path, "conv"), width, width, kPlain);
    }
    decoder_.middle.emplace(r, "decoder.mid_block", kWidths.back());
    decoder_.norm_out.emplace(r, r.path("decoder", "conv_norm_out"), width);
    decoder_.act = r.path("decoder", "conv_act");
    decoder_.conv_out.emplace(r, r.path("decoder", "conv_out"), width, kColours, kPlain);
}

Tensor Seedvr2VaeNetwork::finish(Tape& tape, const Half& half, Seedvr2Frames h, SliceCarry& carry) {
    h = half.norm_out->forward(tape, h);
    h.x = ghost::unary(tape, "silu", half.act, h.x);
    return half.conv_out->forward(tape, h, carry);
}

Tensor Seedvr2VaeNetwork::encode_slice(Tape& tape, const Tensor& pixels, SliceCarry& carry) const {
    Seedvr2Frames sample{encoder_.conv_in->forward(tape, {pixels}, carry)};
    for (const Level& level : encoder_.levels) {
        // The caller's variable keeps what a level is given until its result is there.
        sample = [&] {
            Seedvr2Frames h = sample;
            for (const Seedvr2Residual& block : level.blocks) h = block.forward(tape, h, carry);
            if (!level.conv) return h;
            const Shape& s = h.x.shape();
            const Tensor padded =
                ghost::produce(tape, OpClass::Copy, "constant_pad_nd", level.resample_path, h.x,
                               {s[0], s[1], s[2], s[3] + 1, s[4] + 1}, h.x.type());
            return Seedvr2Frames{level.conv->forward(tape, {padded}, carry)};
        }();
    }
    sample = encoder_.middle->forward(tape, sample, carry);
    return finish(tape, encoder_, std::move(sample), carry);
}

Tensor Seedvr2VaeNetwork::upsample(Tape& tape, const Level& level, const Seedvr2Frames& given,
                                   SliceCarry& carry) {
    const Shape& s = given.x.shape();
    const std::int64_t frames = s[2] * level.time_ratio;
    Tensor h = [&] {
        // PyTorch does not recognise a single frame as one whose channels lie together.
        const bool copied = given.layout == VideoLayout::ChannelsLast && s[2] == 1;
        const Tensor wide = level.upscale->forward(
            tape, given.x, {.layout = copied ? InputLayout::Copied : InputLayout::Contiguous});
        return ghost::clone(tape, level.resample_path, wide,
                            {s[0], s[1], s[2], level.time_ratio, s[3], 2, s[4], 2})
            .view({s[0], s[1], frames, 2 * s[3], 2 * s[4]});
    }();
    if (level.time_ratio > 1 && carry.state != SliceCarry::State::Later) {
        // The first frame stands for itself alone.
        const std::array<Tensor, 2> parts{frames_of(h, 1), frames_of(h, frames - 2)};
        h = ghost::cat(tape, level.resample_path, parts, 2);
    }
    return level.conv->forward(tape, {h}, carry);
}

Tensor Seedvr2VaeNetwork::decode_slice(Tape& tape, const Tensor& z, SliceCarry& carry) const {
    Seedvr2Frames sample{decoder_.conv_in->forward(tape, {z}, carry)};
    sample = decoder_.middle->forward(tape, sample, carry);
    for (const Level& level : decoder_.levels) {
        sample = [&] {
            Seedvr2Frames h = sample;
            for (const Seedvr2Residual& block : level.blocks) h = block.forward(tape, h, carry);
            if (level.upscale) h = {upsample(tape, level, h, carry)};
            return h;
        }();
    }
    return finish(tape, decoder_, std::move(sample), carry);
}

template <class Pass>
Tensor Seedvr2VaeNetwork::run_slices(Tape& tape, const Tensor& x, std::int64_t each,
                                     const Pass& pass) const {
    SliceCarry carry;
    const std::int64_t after_first = x.shape()[2] - 1;
    if (after_first <= each) return pass(x, carry);
    // What is left of a pixel slice joins the one before.
    const std::int64_t slices = after_first / each;
    std::vector<Tensor> done;
    const std::int64_t left = after_first % each;
    Tensor joined;  // lives on
    if (left > 0) {
        const std::array<Tensor, 2> parts{frames_of(x, each), frames_of(x, left)};
        joined = ghost::cat(tape, root_, parts, 2);
    }
    carry.state = SliceCarry::State::First;
    {
        const Tensor second = frames_of(x, each + (slices == 1 ? left : 0));
        const std::array<Tensor, 2> parts{frames_of(x, 1), second};
        const Tensor first = ghost::cat(tape, root_, parts, 2);
        done.push_back(pass(first, carry));
    }
    carry.state = SliceCarry::State::Later;
    for (std::int64_t i = 1; i < slices; ++i) {
        const std::int64_t size = i + 1 == slices ? after_first - i * each : each;
        done.push_back(pass(frames_of(x, size), carry));
    }
    return ghost::cat(tape, root_, done, 2);
}

Tensor Seedvr2VaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    const Tensor moments = run_slices(
        tape, pixels, kFramesPerCell,
        [&](const Tensor& x, SliceCarry& carry) { return encode_slice(tape, x, carry); });
    const Shape& s = moments.shape();
    // Clamped, and read by nobody.
    const Tensor variance = ghost::unary(tape, "clamp", root_, moments.view(s.with(1, kLatent)));
    return moments.view(s.with(1, kLatent));
}

Tensor Seedvr2VaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const Tensor latent = [&] {
        const Tensor scaled = ghost::unary(tape, "div", root_, z);
        return ghost::unary(tape, "add", root_, scaled);
    }();
    return run_slices(tape, latent, 1, [&](const Tensor& x, SliceCarry& carry) {
        return decode_slice(tape, x, carry);
    });
}

bool Seedvr2VaeNetwork::knows(const VaeCall& call) const {
    // Chosen: a walk of each slice takes its time.
    constexpr int kFramesMax = 1 << 12;
    return call.rules.comfyui_minor_key >= kComfy033 && call.storage == call.compute &&
           call.frames <= kFramesMax;
}

Walk Seedvr2VaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input({call.batch, kLatent, grid().latent_frames(call.frames),
                                 call.height / kPixelsPerCell, call.width / kPixelsPerCell},
                                element_type(call.compute));
    const Tensor video = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk Seedvr2VaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels = tape.input({call.batch, kColours, call.frames, call.height, call.width},
                                     element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
