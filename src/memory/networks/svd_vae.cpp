// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/svd_vae.h"

#include "memory/networks/calls.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

constexpr Conv3dShape kOverFrames{.kernel = {3, 1, 1}, .stride = {}, .padding = {1, 0, 0}};
constexpr std::int64_t kPixelsPerCell = 8;

std::int64_t channels(const modelfile::KlVaeConfig& c, std::size_t level) {
    return std::int64_t{c.base_channels} * c.channel_mult[level];
}

// Frames as one video: a view.
Tensor as_video(const Tensor& frames) {
    const Shape& s = frames.shape();
    return frames.view({1, s[1], s[0], s[2], s[3]});
}

Module with_mix_factor(Registry& registry, std::string_view path) {
    const Module own = registry.path(path, "");
    registry.add_own_parameters(own, "NewCls", 1, ModuleStorage::AsNetwork);
    return own;
}

}  // namespace

SvdTimeStack::SvdTimeStack(Registry& r, std::string_view path, std::int64_t width)
    : path_(r.path(path, "")),
      norm1_(r, r.path(path, "in_layers.0"), width),
      act1_(r.path(path, "in_layers.1")),
      conv1_(r, r.path(path, "in_layers.2"), width, width, kOverFrames),
      norm2_(r, r.path(path, "out_layers.0"), width),
      act2_(r.path(path, "out_layers.1")),
      conv2_(r, r.path(path, "out_layers.3"), width, width, kOverFrames) {}

Tensor SvdTimeStack::forward(Tape& tape, const Tensor& x) const {
    const auto convolved = [&](Tensor normal, Module act, const Conv3d& conv) {
        normal = ghost::unary(tape, "silu", act, normal);
        return conv.forward(tape, normal);
    };
    const Tensor out = [&] {
        // The video's view of several frames is not contiguous.
        const Tensor h =
            convolved(x.shape()[2] > 1 ? norm1_.forward_strided(tape, x) : norm1_.forward(tape, x),
                      act1_, conv1_);
        return convolved(norm2_.forward(tape, h), act2_, conv2_);
    }();
    return ghost::binary(tape, "add", path_, x, out);
}

SvdVaeBlock::SvdVaeBlock(Registry& r, std::string_view path, std::int64_t in, std::int64_t out)
    : path_(with_mix_factor(r, path)),
      spatial_(r, path, in, out),
      temporal_(r, *r.path(path, "time_stack"), out) {}

Tensor SvdVaeBlock::forward(Tape& tape, const Tensor& input) const {
    const Tensor spatial = spatial_.forward(tape, input);
    const Tensor temporal = temporal_.forward(tape, as_video(spatial));
    // How much of each: a trained number, computed by the processor.
    const Tensor alpha = ghost::create(tape, "_to_copy", path_, {1}, input.type());
    const Tensor mixed = [&] {
        const Tensor own = [&] {
            const Tensor rest = ghost::unary(tape, "rsub", path_, alpha);
            return ghost::binary(tape, "mul", path_, temporal, rest);
        }();
        const Tensor other = ghost::binary(tape, "mul", path_, as_video(spatial), alpha);
        return ghost::binary(tape, "add", path_, own, other);
    }();
    return mixed.view(spatial.shape());
}

SvdVaeNetwork::SvdVaeNetwork(const modelfile::KlVaeConfig& c)
    : config_(c),
      encoder_(registry_, c),
      path_(registry_.path("decoder", "")),
      conv_in_(registry_, registry_.path("decoder", "conv_in"), c.z_channels,
               channels(c, c.channel_mult.size() - 1)),
      middle1_(registry_, "decoder.mid.block_1", channels(c, c.channel_mult.size() - 1),
               channels(c, c.channel_mult.size() - 1)),
      attention_(registry_, "decoder.mid.attn_1", channels(c, c.channel_mult.size() - 1)),
      middle2_(registry_, "decoder.mid.block_2", channels(c, c.channel_mult.size() - 1),
               channels(c, c.channel_mult.size() - 1)),
      levels_([&] {
          std::vector<Level> levels(c.channel_mult.size());
          for (std::size_t i = 0; i < levels.size(); ++i) {
              std::int64_t width = channels(c, i + 1 < levels.size() ? i + 1 : i);
              for (int j = 0; j <= c.num_res_blocks; ++j) {
                  levels[i].blocks.emplace_back(registry_,
                                                fmt::format("decoder.up.{}.block.{}", i, j), width,
                                                channels(c, i));
                  width = channels(c, i);
              }
              if (i == 0) continue;
              levels[i].upsample_path =
                  registry_.path(fmt::format("decoder.up.{}.upsample", i), "");
              levels[i].upsample.emplace(
                  registry_, registry_.path(*levels[i].upsample_path, "conv"), width, width);
          }
          return levels;
      }()),
      norm_out_(registry_, registry_.path("decoder", "norm_out"), channels(c, 0)),
      conv_out_(registry_, registry_.path("decoder", "conv_out"), channels(c, 0), c.out_channels),
      time_out_(registry_, registry_.path("decoder", "conv_out.time_mix_conv"), c.out_channels,
                c.out_channels, kOverFrames) {}

// A convolution over each frame, then one over time.
Tensor SvdVaeNetwork::forward_out(Tape& tape, const Tensor& x) const {
    const Tensor frames = conv_out_.forward(tape, x);
    const Shape& s = frames.shape();
    const bool copied = s[0] > 1;  // the video's view of several frames is not contiguous
    const Tensor out =
        time_out_.forward(tape, as_video(frames),
                          {.padding = kOverFrames.padding,
                           .layout = copied ? InputLayout::Copied : InputLayout::Contiguous});
    return out.view(s);
}

Tensor SvdVaeNetwork::decode(Tape& tape, const Tensor& z) const {
    Tensor h = conv_in_.forward(tape, z);
    h = middle1_.forward(tape, h);
    h = attention_.forward(tape, h);
    h = middle2_.forward(tape, h);
    for (std::size_t i = levels_.size(); i-- > 0;) {
        const Level& level = levels_[i];
        for (const SvdVaeBlock& block : level.blocks) h = block.forward(tape, h);
        if (!level.upsample) continue;
        h = [&] {
            const Shape& s = h.shape();
            const Tensor larger =
                ghost::produce(tape, OpClass::Elementwise, "upsample_nearest2d",
                               level.upsample_path, h, {s[0], s[1], 2 * s[2], 2 * s[3]}, h.type());
            return level.upsample->forward(tape, larger);
        }();
    }
    h = norm_out_.forward(tape, h);
    h = ghost::unary(tape, "silu", path_, h);
    return forward_out(tape, h);
}

Result<std::shared_ptr<const SvdVaeNetwork>> build_svd_vae(const modelfile::KlVaeConfig& config) {
    TRY_DO(build_kl_vae(config));  // for its checks
    return std::make_shared<const SvdVaeNetwork>(config);
}

Walk simulate_svd_vae_decode(const SvdVaeNetwork& vae, const VaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input({call.batch, vae.config().z_channels, call.height / kPixelsPerCell,
                                 call.width / kPixelsPerCell},
                                element_type(call.compute));
    const Tensor frames = vae.decode(tape, z);
    return finish_walk(tape, vae, call.storage, call.rules);
}

}  // namespace plimsoll::memory
