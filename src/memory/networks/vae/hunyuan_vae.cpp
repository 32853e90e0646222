// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/hunyuan_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <bit>
#include <utility>

namespace plimsoll::memory {

namespace {

using modelfile::HunyuanVideoVaeConfig;

constexpr VaeStyle kStyle{ConvKind::Causal, NormKind::Group};
constexpr std::int64_t kLatentsTogether = 2;  // of a chunk, since ComfyUI 0.33.0

// Whether the change of resolution at a level, counted from the finest one, halves time too.
bool halves_time(const HunyuanVideoVaeConfig& c, std::size_t level) {
    const int halvings =
        static_cast<int>(std::bit_width(static_cast<unsigned>(c.time_compress))) - 1;
    return static_cast<int>(c.ch_mult.size() - 1 - level) <= halvings;
}

}  // namespace

VideoUpsample::VideoUpsample(Registry& r, std::string_view path, std::int64_t channels,
                             std::int64_t times)
    : path_(r.path(path, "")),
      times_(times),
      conv_(r, r.path(path, "conv"), channels, channels, ConvKind::Causal) {}

Tensor VideoUpsample::enlarge(Tape& tape, const Tensor& x, std::int64_t frames, bool strided,
                              bool first) const {
    const Tensor part = frames_view(x, frames);
    const Tensor copy = copy_strided(tape, "resample.contig", path_, part, strided);
    const Shape& s = part.shape();
    if (first) {
        const Tensor image = ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d", path_,
                                            part, {s[0], s[1], 2 * s[3], 2 * s[4]}, part.type());
        return image.view({s[0], s[1], 1, 2 * s[3], 2 * s[4]});
    }
    return ghost::produce(tape, OpClass::Elementwise, "upsample_nearest3d", path_, part,
                          {s[0], s[1], s[2] * times_, 2 * s[3], 2 * s[4]}, part.type());
}

Tensor VideoUpsample::forward(Tape& tape, const Tensor& x, FrameCarry* carry) const {
    const std::int64_t frames = x.shape()[2];
    const bool first_apart = times_ > 1 && (carry == nullptr || carry->first);
    if (!first_apart) {
        const Tensor larger = enlarge(tape, x, frames, false, false);
        return conv_.forward(tape, path_, larger, carry);
    }
    // The parts live on beside the whole.
    Tensor rest;
    const bool newer = since_033(tape);
    if (!newer && frames > 1) rest = enlarge(tape, x, frames - 1, true, false);
    const Tensor first = enlarge(tape, x, 1, frames > 1, true);
    if (newer && frames > 1) rest = enlarge(tape, x, frames - 1, true, false);
    if (frames == 1) return conv_.forward(tape, path_, first, carry);
    const Tensor whole = join_chunks(tape, path_, {first, rest});
    return conv_.forward(tape, path_, whole, carry);
}

HunyuanVaeEncoder::HunyuanVaeEncoder(Registry& r, const HunyuanVideoVaeConfig& c)
    : path_(r.path("encoder", "")),
      time_compress_(c.time_compress),
      conv_in_(r, r.path("encoder", "conv_in"), c.in_channels, c.ch, ConvKind::Causal) {
    std::int64_t width = c.ch;
    for (std::size_t i = 0; i < c.ch_mult.size(); ++i) {
        VideoVaeLevel& level = levels_.emplace_back();
        const std::int64_t out = std::int64_t{c.ch} * c.ch_mult[i];
        for (int j = 0; j < c.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("encoder.down.{}.block.{}", i, j), width, out,
                                      kStyle);
            width = out;
        }
        if (i + 1 == c.ch_mult.size()) continue;
        level.downsample_path = r.path(fmt::format("encoder.down.{}.downsample", i), "");
        const std::int64_t times = halves_time(c, i) ? 2 : 1;
        level.downsample.emplace(r, r.path(*level.downsample_path, "conv"), width, width,
                                 ConvKind::Causal, VaeConv::Form{3, {times, 2, 2}});
    }
    middle_.emplace(r, "encoder.mid", width, kStyle);
    norm_out_.emplace(r, r.path("encoder", "norm_out"), width, kStyle.norm);
    conv_out_.emplace(r, r.path("encoder", "conv_out"), width,
                      (c.double_z ? 2 : 1) * std::int64_t{c.z_channels}, ConvKind::Causal);
}

Tensor HunyuanVaeEncoder::forward(Tape& tape, const Tensor& pixels) const {
    // How many frames pass together: all, or the first and then whole latent frames' worth.
    std::vector<std::int64_t> chunks = {pixels.shape()[2]};
    if (since_033(tape)) {
        std::int64_t rest = (chunks.front() - 1) / time_compress_ * time_compress_;
        chunks = {1};
        for (const std::int64_t together = kLatentsTogether * time_compress_; rest > 0;
             rest -= together)
            chunks.push_back(std::min(rest, together));
    }
    Tensor h = [&] {
        FrameCarry carry;
        std::vector<Tensor> results;
        for (std::size_t i = 0; i < chunks.size(); ++i) {
            carry.start_chunk(i, chunks.size(), chunks[i] < pixels.shape()[2]);
            Tensor x = conv_in_.forward(tape, path_, frames_view(pixels, chunks[i]), &carry);
            for (const VideoVaeLevel& level : levels_) {
                for (const VaeResidual& block : level.blocks) x = block.forward(tape, x, &carry);
                if (level.downsample)
                    x = level.downsample->forward(tape, level.downsample_path, x, &carry);
            }
            results.push_back(std::move(x));
        }
        return join_chunks(tape, path_, std::move(results));
    }();
    h = middle_->forward(tape, h);
    h = norm_out_->forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    return conv_out_->forward(tape, path_, std::move(h), nullptr);
}

HunyuanVaeDecoder::HunyuanVaeDecoder(Registry& r, const HunyuanVideoVaeConfig& c)
    : path_(r.path("decoder", "")),
      conv_in_(r, r.path("decoder", "conv_in"), c.z_channels, std::int64_t{c.ch} * c.ch_mult.back(),
               ConvKind::Causal),
      middle_(r, "decoder.mid", std::int64_t{c.ch} * c.ch_mult.back(), kStyle) {
    levels_.resize(c.ch_mult.size());
    const auto channels = [&](std::size_t i) { return std::int64_t{c.ch} * c.ch_mult[i]; };
    for (std::size_t i = 0; i < levels_.size(); ++i) {  // named_modules(): the finest level first
        VideoVaeLevel& level = levels_[i];
        std::int64_t width = i + 1 < levels_.size() ? channels(i + 1) : channels(i);
        for (int j = 0; j <= c.num_res_blocks; ++j) {
            level.blocks.emplace_back(r, fmt::format("decoder.up.{}.block.{}", i, j), width,
                                      channels(i), kStyle);
            width = channels(i);
        }
        // The level above doubles what this one's neighbour halved on the way down.
        if (i > 0)
            level.upsample.emplace(r, fmt::format("decoder.up.{}.upsample", i), width,
                                   halves_time(c, c.ch_mult.size() - 1 - i) ? 2 : 1);
    }
    norm_out_.emplace(r, r.path("decoder", "norm_out"), channels(0), kStyle.norm);
    conv_out_.emplace(r, r.path("decoder", "conv_out"), channels(0), c.out_ch, ConvKind::Causal);
}

Tensor HunyuanVaeDecoder::run_levels(Tape& tape, Tensor x, FrameCarry* carry) const {
    for (std::size_t i = levels_.size(); i-- > 0;) {
        const VideoVaeLevel& level = levels_[i];
        for (const VaeResidual& block : level.blocks) x = block.forward(tape, x, carry);
        if (level.upsample) x = level.upsample->forward(tape, x, carry);
    }
    x = norm_out_->forward(tape, x);
    x = ghost::unary(tape, "silu", path_, x);
    return conv_out_->forward(tape, path_, std::move(x), carry);
}

Tensor HunyuanVaeDecoder::forward(Tape& tape, const Tensor& z) const {
    Tensor x = conv_in_.forward(tape, path_, z, nullptr);
    x = middle_.forward(tape, x);
    if (!since_033(tape)) return run_levels(tape, std::move(x), nullptr);
    // All of the middle's frames live on while they pass in parts.
    const std::int64_t frames = x.shape()[2];
    const auto chunks =
        static_cast<std::size_t>((frames + kLatentsTogether - 1) / kLatentsTogether);
    FrameCarry carry;
    std::vector<Tensor> results;
    for (std::size_t i = 0; i < chunks; ++i) {
        carry.start_chunk(i, chunks, chunks > 1);
        const std::int64_t done = static_cast<std::int64_t>(i) * kLatentsTogether;
        results.push_back(
            run_levels(tape, frames_view(x, std::min(kLatentsTogether, frames - done)), &carry));
    }
    return join_chunks(tape, path_, std::move(results));
}

HunyuanVaeNetwork::HunyuanVaeNetwork(const HunyuanVideoVaeConfig& c)
    : config_(c),
      encoder_(registry_, c),
      decoder_(registry_, c),
      quant_conv_(registry_, registry_.path("quant_conv", ""),
                  (c.double_z ? 2 : 1) * std::int64_t{c.z_channels},
                  (c.double_z ? 2 : 1) * std::int64_t{c.z_channels}, ConvKind::Video,
                  VaeConv::Form{.kernel = 1}),
      post_quant_conv_(registry_, registry_.path("post_quant_conv", ""), c.z_channels, c.z_channels,
                       ConvKind::Video, VaeConv::Form{.kernel = 1}),
      regularization_(registry_.path("regularization", "")) {}

Tensor HunyuanVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const Tensor latent = post_quant_conv_.forward(tape, nullptr, z, nullptr);
    return decoder_.forward(tape, latent);
}

Tensor HunyuanVaeNetwork::encode(Tape& tape, const Tensor& pixels) const {
    Tensor moments = encoder_.forward(tape, pixels);
    moments = quant_conv_.forward(tape, nullptr, moments, nullptr);
    return config_.double_z ? posterior_mean(tape, regularization_, moments) : moments;
}

Result<std::shared_ptr<const HunyuanVaeNetwork>> build_hunyuan_vae(const HunyuanVideoVaeConfig& c) {
    constexpr int kGroups = 32;
    if (!c.attn_resolutions.empty() || !c.conv3d)
        return fail(Errc::NotFound, "a HunyuanVideo VAE of another kind is not simulated");
    bool sound = !c.ch_mult.empty() && c.ch_mult.size() <= 8 && within(c.ch, kGroups, 1 << 13) &&
                 c.ch % kGroups == 0 && within(c.num_res_blocks, 1, 64) &&
                 within(c.z_channels, 1, 4096) && within(c.in_channels, 1, 64) &&
                 within(c.out_ch, 1, 64) && within(c.time_compress, 1, 64) &&
                 std::has_single_bit(static_cast<unsigned>(c.time_compress));
    for (const int mult : c.ch_mult) sound = sound && within(mult, 1, 16);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a HunyuanVideo VAE of width {} with {} levels cannot be", c.ch,
                                c.ch_mult.size()));
    return std::make_shared<const HunyuanVaeNetwork>(c);
}

Walk HunyuanVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::int64_t factor = downscale();
    const Tensor z =
        tape.input({call.batch, config_.z_channels, (call.frames - 1) / config_.time_compress + 1,
                    call.height / factor, call.width / factor},
                   element_type(call.compute));
    const Tensor video = decode(tape, z);
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk HunyuanVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({call.batch, config_.in_channels, call.frames, call.height, call.width},
                   element_type(call.compute));
    const Tensor latent = encode(tape, pixels);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
