// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/temporal_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

// As published: there is one configuration.
constexpr std::int64_t kLatent = 4;
constexpr std::int64_t kColours = 3;
constexpr std::int64_t kWidth = 128;
constexpr std::array<std::int64_t, 4> kMult = {1, 2, 4, 4};
constexpr int kBlocks = 3;  // of a level
constexpr std::int64_t kWidest = kWidth * kMult.back();
constexpr std::int64_t kDownscale = 8;
constexpr Conv3dShape kOverTime{.kernel = {3, 1, 1}, .stride = {}, .padding = {1, 0, 0}};

// [T, C, H, W] as one video [1, C, T, H, W]: a view, strided where there are several frames.
Tensor as_video(const Tensor& images) {
    const Shape& s = images.shape();
    return images.view({1, s[1], s[0], s[2], s[3]});
}

}  // namespace

TemporalResidual::Part TemporalResidual::make_part(Registry& r, std::string_view path, int conv,
                                                   std::int64_t channels) {
    const GroupNorm norm(r, r.path(path, "0"), channels);
    const Conv3d over_time(r, r.path(path, fmt::format("{}", conv)), channels, channels, kOverTime);
    return {norm, r.path(path, "1"), over_time};
}

TemporalResidual::TemporalResidual(Registry& r, std::string_view path, std::int64_t in,
                                   std::int64_t out)
    : path_(r.path(path, "")),
      share_([&] {
          r.add_own_parameters(path_, "NewCls", 1, ModuleStorage::AsNetwork);  // the mix's share
          return path_;
      }()),
      spatial_(r, path, in, out),
      stack_path_(r.path(path, "time_stack")),
      first_(make_part(r, fmt::format("{}.in_layers", *stack_path_), 2, out)),
      second_(make_part(r, fmt::format("{}.out_layers", *stack_path_), 3, out)) {}

Tensor TemporalResidual::run_part(Tape& tape, const Part& part, const Tensor& x, bool strided) {
    const Tensor active = [&] {
        const Tensor normal = [&] {
            const Tensor copy =
                copy_strided(tape, "group_norm.contig", part.conv.path(), x, strided);
            return part.norm.forward(tape, x);
        }();
        return ghost::unary(tape, "silu", part.act, normal);
    }();
    return part.conv.forward(tape, active);
}

Tensor TemporalResidual::mix_in_time(Tape& tape, const Tensor& video) const {
    Tensor h = run_part(tape, first_, video, video.shape()[2] > 1);
    h = run_part(tape, second_, h, false);
    return ghost::binary(tape, "add", stack_path_, video, h);
}

Tensor TemporalResidual::forward(Tape& tape, const Tensor& images) const {
    const Tensor spatial = spatial_.forward(tape, images);
    const Tensor video = as_video(spatial);
    const Tensor temporal = mix_in_time(tape, video);
    const ghost::ElementType type = video.type();
    const Tensor share = ghost::create(tape, "_to_copy", path_, {1}, type);
    const Tensor mixed = [&] {
        const Tensor of_time = ghost::binary(tape, "mul", path_, temporal, share);
        const Tensor of_space = [&] {
            const Tensor rest = ghost::unary(tape, "rsub", path_, share);
            return ghost::binary(tape, "mul", path_, video, rest);
        }();
        return ghost::binary(tape, "add", path_, of_time, of_space);
    }();
    return mixed.view(spatial.shape());
}

TemporalVaeNetwork::TemporalVaeNetwork()
    : path_(registry_.path("decoder", "")),
      encoder_(registry_, modelfile::KlVaeConfig{}),
      conv_in_(registry_, registry_.path("decoder", "conv_in"), kLatent, kWidest),
      block_1_(registry_, "decoder.mid.block_1", kWidest, kWidest),
      attn_1_(registry_, "decoder.mid.attn_1", kWidest),
      block_2_(registry_, "decoder.mid.block_2", kWidest, kWidest) {
    levels_.resize(kMult.size());
    for (std::size_t i = 0; i < levels_.size(); ++i) {
        Level& level = levels_[i];
        std::int64_t width = kWidth * kMult[std::min(i + 1, kMult.size() - 1)];
        for (int j = 0; j < kBlocks; ++j) {
            level.blocks.emplace_back(registry_, fmt::format("decoder.up.{}.block.{}", i, j), width,
                                      kWidth * kMult[i]);
            width = kWidth * kMult[i];
        }
        if (i == 0) continue;
        level.upsample_path = registry_.path(fmt::format("decoder.up.{}.upsample", i), "");
        level.upsample.emplace(registry_, registry_.path(*level.upsample_path, "conv"), width,
                               width);
    }
    norm_out_.emplace(registry_, registry_.path("decoder", "norm_out"), kWidth);
    conv_out_.emplace(registry_, registry_.path("decoder", "conv_out"), kWidth, kColours);
    time_conv_.emplace(registry_, registry_.path("decoder", "conv_out.time_mix_conv"), kColours,
                       kColours, kOverTime);
    regularization_ = registry_.path("regularization", "");
}

Tensor TemporalVaeNetwork::decode(Tape& tape, const Tensor& z, KeepMiddle keep) const {
    Tensor h = conv_in_.forward(tape, z);
    h = block_1_.forward(tape, h);
    h = attn_1_.forward(tape, h);
    h = block_2_.forward(tape, h);
    const Tensor kept = keep == KeepMiddle::Yes ? h : Tensor();
    for (std::size_t i = levels_.size(); i-- > 0;) {
        const Level& level = levels_[i];
        for (const TemporalResidual& block : level.blocks) h = block.forward(tape, h);
        if (!level.upsample) continue;
        h = [&] {
            const Shape& s = h.shape();
            const Tensor larger =
                ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d",
                               level.upsample_path, h, {s[0], s[1], 2 * s[2], 2 * s[3]}, h.type());
            return level.upsample->forward(tape, larger);
        }();
    }
    h = norm_out_->forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    const Tensor images = conv_out_->forward(tape, h);
    const bool strided = images.shape()[0] > 1;
    const Tensor video =
        time_conv_->forward(tape, as_video(images),
                            {.padding = kOverTime.padding,
                             .layout = strided ? InputLayout::Copied : InputLayout::Contiguous});
    return video.view(images.shape());
}

Walk TemporalVaeNetwork::simulate_decode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input({std::int64_t{call.batch} * call.frames, kLatent,
                                 call.height / kDownscale, call.width / kDownscale},
                                element_type(call.compute));
    const Tensor images = decode(tape, z, keep_middle(call.rules));
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk TemporalVaeNetwork::simulate_encode(const VaeCall& call) const {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor pixels =
        tape.input({std::int64_t{call.batch} * call.frames, kColours, call.height, call.width},
                   element_type(call.compute));
    const Tensor moments = encoder_.forward(tape, pixels);
    const Tensor mean = kl_mean(tape, regularization_, moments);
    return finish_walk(tape, *this, call.storage, call.rules);
}

}  // namespace plimsoll::memory
