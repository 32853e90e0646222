// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx24_vae.h"

#include "memory/networks/calls.h"
#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Ltx24DecoderConfig;

namespace {

constexpr std::int64_t kSets = 7;  // scale and shift of both norms, gates that nothing reads
constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids
constexpr std::int64_t kLatentChannels = 128;
constexpr std::int64_t kFramesPerCell = kLtxVaeFrames;
constexpr std::int64_t kPixelsPerCell = kLtxVaePixels;
constexpr std::size_t kStages = 5;

// Of the published decoder, the only one whose upsampling was recorded.
struct Step {
    Extent3 stride;
    std::int64_t reduction = 1;
};
constexpr std::array<Step, kStages - 1> kSteps = {
    {{{1, 2, 2}, 2}, {{2, 1, 1}, 2}, {{2, 2, 2}, 1}, {{2, 2, 2}, 2}}};

Extent3 extent(const std::array<int, 3>& e) {
    return {e[0], e[1], e[2]};
}

std::int64_t noised_channels(const Ltx24DecoderConfig& c) {
    return std::int64_t{c.out_channels} * c.patch_size * c.patch_size;
}

}  // namespace

Ltx24Block::Ltx24Block(Registry& r, std::string_view path, std::int64_t width,
                       std::int64_t head_dim, const Extent3& window, bool diffusion)
    : width_(width),
      path_([&] {
          const Module own = r.path(path, "");
          if (diffusion)
              r.add_own_parameters(own, "DiffusionNABlock", kSets * width,
                                   ModuleStorage::AsNetwork);
          return own;
      }()),
      context_proj_(diffusion ? std::optional<Linear>(std::in_place, r,
                                                      r.path(path, "context_proj"), width, width)
                              : std::nullopt),
      norm1_(r, r.path(path, "norm1"), width, Affine::Yes, NormClass::Plain),
      attention_(r, *r.path(path, "attn"), width, head_dim, window),
      norm2_(r, r.path(path, "norm2"), width, Affine::Yes, NormClass::Plain),
      mlp_(r, *r.path(path, "mlp"), width) {}

void Ltx24Block::forward(Tape& tape, const Tensor& x) const {
    attention_.forward(tape, x, [&](const Tensor& slice) { return norm1_.forward(tape, slice); });
    mlp_.forward(tape, x, [&](const Tensor& slice) { return norm2_.forward(tape, slice); });
}

void Ltx24Block::forward(Tape& tape, const Tensor& x, const Tensor& context,
                         const Tensor& modulation) const {
    // Scale and shift of both norms, and the last of the gates.
    constexpr std::size_t kKept = 5;
    std::vector<Tensor> parts;
    parts.reserve(kSets);
    for (std::int64_t i = 0; i < kSets; ++i)
        parts.push_back(ltx_with_own(tape, "add", path_, modulation.view({1, width_}), width_,
                                     {1, 1, 1, 1, width_}));
    parts.resize(kKept);
    const auto modulated = [&](const RmsNorm& norm, const Tensor& slice) {
        const Tensor scaled = [&] {
            const Tensor normal = norm.forward(tape, slice);
            const Tensor factor = ghost::unary(tape, "add", path_, parts.front());
            return ghost::combine(tape, "mul", path_, {&normal, &factor}, slice.shape(),
                                  slice.type());
        }();
        return ghost::combine(tape, "add", path_, {&scaled, &parts.front()}, slice.shape(),
                              slice.type());
    };
    const std::int64_t frames = x.shape()[1];
    const std::int64_t together = frames_together(x);
    for (std::int64_t done = 0; done < frames; done += together) {
        const std::int64_t now = std::min(together, frames - done);
        const Tensor update = context_proj_->forward(tape, cell_frames(context, now));
        add_to_slice(tape, path_, cell_frames(x, now), update);
    }
    attention_.forward(tape, x, [&](const Tensor& slice) { return modulated(norm1_, slice); });
    mlp_.forward(tape, x, [&](const Tensor& slice) { return modulated(norm2_, slice); });
}

Ltx24Upsample::Ltx24Upsample(Registry& r, std::string_view path, const Shape& s)
    : path_(r.path(path, "")),
      shape_(s),
      proj_(r, r.path(path, "proj"), s.in, s.stride.volume() * s.in / s.reduction) {}

Tensor Ltx24Upsample::forward(Tape& tape, const Tensor& x) const {
    const auto& s = x.shape();
    const Extent3& k = shape_.stride;
    const Tensor out = tape.make(
        {s[0], s[1] * k.frames, s[2] * k.rows, s[3] * k.columns, shape_.in / shape_.reduction},
        x.type(), "empty", path_);
    const std::int64_t together = frames_together(x);
    for (std::int64_t done = 0; done < s[1]; done += together) {
        const std::int64_t now = std::min(together, s[1] - done);
        const Tensor wide = proj_.forward(tape, cell_frames(x, now));
        const Tensor dealt = ghost::clone(tape, path_, wide, wide.shape());
        tape.charge(OpClass::Copy, "copy_", path_, 0, kCopyIntoTraffic * dealt.bytes());
    }
    // What time doubled begins with a copy of the first frame.
    return k.frames == 2 ? cell_frames(out, out.shape()[1] - 1) : out;
}

Ltx24VaeNetwork::Ltx24VaeNetwork(const modelfile::LtxVaeConfig& encoder,
                                 const Ltx24DecoderConfig& c)
    : config_(c),
      root_(registry_.path("", "")),
      encoder_(registry_, encoder, LtxVaeForm::Chunked),
      path_([&] {
          const Module own = registry_.path("decoder", "");
          registry_.add_buffer(own, "NADiffusionDecoder", c.default_num_inference_steps,
                               ModuleStorage::AsNetwork, Saved::No);
          return own;
      }()),
      conv_in_(registry_, registry_.path("decoder", "conv_in"), c.in_channels,
               c.stage_channels.front()),
      stages_([&] {
          std::vector<std::vector<Ltx24Block>> stages(kStages - 1);
          for (std::size_t i = 0; i + 1 < kStages; ++i) {
              stages[i].reserve(static_cast<std::size_t>(c.stage_depths[i]));
              for (int j = 0; j < c.stage_depths[i]; ++j)
                  stages[i].emplace_back(registry_, fmt::format("decoder.det_stages.{}.{}", i, j),
                                         c.stage_channels[i], c.head_dim,
                                         extent(c.stage_kernels[i]), false);
          }
          return stages;
      }()),
      upsamples_([&] {
          std::vector<Ltx24Upsample> upsamples;
          upsamples.reserve(kSteps.size());
          for (std::size_t i = 0; i < kSteps.size(); ++i)
              upsamples.emplace_back(
                  registry_, fmt::format("decoder.upsamples.{}", i),
                  Ltx24Upsample::Shape{c.stage_channels[i], kSteps[i].stride, kSteps[i].reduction});
          return upsamples;
      }()),
      embedder_(registry_.path("decoder", "t_embedder")),
      embedder_in_(registry_, registry_.path("decoder", "t_embedder.mlp.0"), kTimestepWidth,
                   c.t_emb_dim),
      embedder_act_(registry_.path("decoder", "t_embedder.mlp.1")),
      embedder_out_(registry_, registry_.path("decoder", "t_embedder.mlp.2"), c.t_emb_dim,
                    c.t_emb_dim),
      conv_in_x_t_(registry_, registry_.path("decoder", "conv_in_x_t"), noised_channels(c),
                   c.stage_channels.back()),
      adaln_(registry_.path("decoder", "shared_adaln")),
      adaln_proj_(registry_, registry_.path("decoder", "shared_adaln.proj"), c.t_emb_dim,
                  kSets * c.stage_channels.back()),
      diff_blocks_([&] {
          std::vector<Ltx24Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.stage_depths.back()));
          for (int j = 0; j < c.stage_depths.back(); ++j)
              blocks.emplace_back(registry_, fmt::format("decoder.diff_blocks.{}", j),
                                  c.stage_channels.back(), c.head_dim, extent(c.stage5_kernel),
                                  true);
          return blocks;
      }()),
      norm_out_(registry_, registry_.path("decoder", "norm_out"), c.stage_channels.back(),
                Affine::Yes, NormClass::Plain),
      conv_out_(registry_, registry_.path("decoder", "conv_out"), c.stage_channels.back(),
                noised_channels(c)) {
    registry_.add_buffer(registry_.path("per_channel_statistics", ""), "processor",
                         2 * kLatentChannels, ModuleStorage::AsNetwork, Saved::Yes);
}

// Channels last: [1, T, H, W, C]. The last latent frame is repeated for the first stage's windows
// and what came of it is cut off at the end.
Tensor Ltx24VaeNetwork::make_context(Tape& tape, const Tensor& z) const {
    const auto& s = z.shape();
    const std::int64_t more = config_.stage_kernels.front()[0] / 2 * 2;
    const Tensor padded =
        more > 0 ? ghost::cat(tape, path_, std::array<Tensor, 2>{z, z.view(s.with(2, more))}, 2)
                 : z;
    Tensor x = conv_in_.forward_batched(tape, padded.view({s[0], s[2] + more, s[3], s[4], s[1]}));
    for (std::size_t i = 0; i < stages_.size(); ++i) {
        for (const Ltx24Block& block : stages_[i]) block.forward(tape, x);
        x = upsamples_[i].forward(tape, x);
    }
    return cell_frames(x, x.shape()[1] - more * kFramesPerCell);
}

Tensor Ltx24VaeNetwork::denoise(Tape& tape, const Tensor& context, const Tensor& noise) const {
    const auto& s = context.shape();
    const std::int64_t p = config_.patch_size;
    Tensor x =
        ghost::clone(tape, path_, noise, {s[0], config_.out_channels, 1, p, p, s[1], s[2], s[3]})
            .view({s[0], s[1], s[2], s[3], noised_channels(config_)});
    x = conv_in_x_t_.forward_batched(tape, x);
    const Tensor time = [&] {
        const Tensor scaled = ghost::create(tape, "mul", path_, {1}, noise.type());
        const Tensor wide = ghost::to_type(tape, embedder_, scaled, ElementType::Float32);
        const Tensor waves = scaled_timestep_embedding(tape, embedder_, wide, kTimestepWidth);
        const Tensor cast = ghost::to_type(tape, embedder_, waves, noise.type());
        Tensor hidden = embedder_in_.forward(tape, cast);
        hidden = ghost::unary(tape, "silu", embedder_act_, hidden);
        return embedder_out_.forward(tape, hidden);
    }();
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", adaln_, time);
        return adaln_proj_.forward(tape, active);
    }();
    for (const Ltx24Block& block : diff_blocks_) block.forward(tape, x, context, modulation);
    x = norm_out_.forward(tape, x);
    x = conv_out_.forward(tape, x);
    return ghost::clone(tape, path_, x, {s[0], config_.out_channels, s[1], 1, s[2], p, s[3], p});
}

Tensor Ltx24VaeNetwork::decode(Tape& tape, const Tensor& z) const {
    const Tensor latent = [&] {
        const Tensor scaled = ltx_with_own(tape, "mul", root_, z, kLatentChannels, z.shape());
        return ltx_with_own(tape, "add", root_, scaled, kLatentChannels, z.shape());
    }();
    const Tensor context = make_context(tape, latent);
    const auto& s = context.shape();
    const Tensor noise = ghost::create(
        tape, "randn", path_,
        {s[0], config_.out_channels, s[1], s[2] * config_.patch_size, s[3] * config_.patch_size},
        z.type());
    return denoise(tape, context, noise);
}

Result<std::shared_ptr<const Ltx24VaeNetwork>> build_ltx24_vae(
    const modelfile::LtxVaeConfig& encoder, const Ltx24DecoderConfig& c) {
    bool sound = c.in_channels == kLatentChannels && within(c.out_channels, 1, 64) &&
                 c.patch_size == 4 && within(c.head_dim, 8, 512) && c.head_dim % 8 == 0 &&
                 c.stage_channels.size() == kStages && c.stage_depths.size() == kStages &&
                 c.stage_kernels.size() == kStages && within(c.t_emb_dim, 1, kWidthMax) &&
                 c.default_num_inference_steps == 1;
    for (std::size_t i = 0; sound && i < kStages; ++i) {
        sound = within(c.stage_channels[i], c.head_dim, kWidthMax) &&
                c.stage_channels[i] % c.head_dim == 0 && within(c.stage_depths[i], 0, 64);
        for (const int side : c.stage_kernels[i]) sound = sound && within(side, 1, 64);
        if (sound && i > 0)
            sound = c.stage_channels[i] * kSteps[i - 1].reduction == c.stage_channels[i - 1];
    }
    for (const int side : c.stage5_kernel) sound = sound && within(side, 1, 64);
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("a decoder of LTX 2.4 with {} stages and heads of {} cannot be",
                                c.stage_channels.size(), c.head_dim));
    return std::make_shared<const Ltx24VaeNetwork>(encoder, c);
}

VaeGrid Ltx24VaeNetwork::grid() const {
    return {.pixels_per_cell = kLtxVaePixels,
            .frames_per_cell = kLtxVaeFrames,
            .latent_channels = static_cast<int>(kLatentChannels)};
}

// Several videos are cut into slices that are not contiguous.
bool Ltx24VaeNetwork::knows(const VaeCall& call) const {
    constexpr int kSince = 33000;                               // ComfyUI 0.33.0
    constexpr std::int64_t kPixelsMax = std::int64_t{1} << 34;  // chosen: 8000 frames of full HD
    return call.rules.comfyui_minor_key >= kSince && call.batch == 1 &&
           std::int64_t{call.frames} * call.height * call.width <= kPixelsMax;
}

Walk Ltx24VaeNetwork::simulate_decode(const VaeCall& call) const {
    return simulate_ltx24_vae_decode(*this, {.batch = call.batch,
                                             .frames = call.frames,
                                             .height = call.height,
                                             .width = call.width,
                                             .compute = call.compute,
                                             .storage = call.storage,
                                             .rules = call.rules});
}

Walk simulate_ltx24_vae_decode(const Ltx24VaeNetwork& vae, const LtxVaeCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const Tensor z = tape.input({1, kLatentChannels, (call.frames - 1) / kFramesPerCell + 1,
                                 call.height / kPixelsPerCell, call.width / kPixelsPerCell},
                                element_type(call.compute));
    const Tensor video = vae.decode(tape, z);
    return finish_walk(tape, vae, call.storage, call.rules);
}

}  // namespace plimsoll::memory
