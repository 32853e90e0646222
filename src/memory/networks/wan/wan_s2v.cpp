// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_s2v.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::element_bytes;
using ghost::ElementType;

namespace {

constexpr std::int64_t kSpeechTokens = 4;     // of a latent frame, beside the padding token
constexpr std::int64_t kFeaturesPerCell = 4;  // moments of audio to a latent frame
constexpr std::int64_t kKinds = 3;            // video, reference, earlier frames
constexpr std::int64_t kLatentChannels = 16;  // of earlier frames and of the control video
constexpr std::array<int, 12> kInjectedBlocks = {0, 4, 8, 12, 16, 20, 24, 27, 30, 33, 36, 39};

// Earlier latent frames, from the nearest to the farthest, and how coarsely each part is packed.
constexpr std::int64_t kNearFrames = 1;
constexpr std::int64_t kMiddleFrames = 2;
constexpr std::int64_t kFarFrames = 16;
constexpr std::int64_t kMotionFrames = kNearFrames + kMiddleFrames + kFarFrames;
constexpr std::int64_t kMotionTimesteps = 3;  // one for each part: zero
constexpr std::int64_t kSidesMultiple = 8;    // of the farthest frames' patches

Conv3dShape packing(std::int64_t frames, std::int64_t side) {
    const Extent3 patch{frames, side, side};
    return {.kernel = patch, .stride = patch};
}

}  // namespace

SpeechEncoder::SpeechEncoder(Registry& r, std::string_view path, std::int64_t width)
    : width_(width),
      path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "CausalAudioEncoder", kLayers, ModuleStorage::AsNetwork);
          return own;
      }()),
      weights_act_(r.path(path, "act")),
      encoder_([&] {
          const Module own = r.path(path, "encoder");
          r.add_own_parameters(own, "MotionEncoder_tc", width, ModuleStorage::AsNetwork);
          return own;
      }()),
      conv1_local_(r, *r.path(*encoder_, "conv1_local"), kFeatures, width / 4 * kSpeechTokens),
      conv1_global_(r, *r.path(*encoder_, "conv1_global"), kFeatures, width / 4),
      norm1_(r, r.path(*encoder_, "norm1"), width / 4, Affine::No),
      act_(r.path(*encoder_, "act")),
      conv2_(r, *r.path(*encoder_, "conv2"), width / 4, width / 2, 2),
      conv3_(r, *r.path(*encoder_, "conv3"), width / 2, width, 2),
      final_(r, r.path(*encoder_, "final_linear"), width, width),
      norm2_(r, r.path(*encoder_, "norm2"), width / 2, Affine::No),
      norm3_(r, r.path(*encoder_, "norm3"), width, Affine::No) {}

// The layers' mean under trained weights: [N, layers, features, moments] to [N, features, moments].
Tensor SpeechEncoder::weighted_sum(Tape& tape, const Tensor& features) const {
    const Shape& s = features.shape();
    const Tape::Cast cast = tape.cast_weight({1, kLayers, 1, 1}, path_);
    const Tensor weights =
        ghost::create(tape, "silu", weights_act_, {1, kLayers, 1, 1}, features.type());
    const Tensor total = ghost::produce(tape, OpClass::Normalization, "sum", path_, weights,
                                        {1, 1, 1, 1}, weights.type());
    const Tensor weighted = [&] {
        const Tensor product = ghost::binary(tape, "mul", path_, features, weights);
        return ghost::binary(tape, "div", path_, product, total);
    }();
    return ghost::produce(tape, OpClass::Normalization, "sum", path_, weighted, {s[0], s[2], s[3]},
                          features.type());
}

Tensor SpeechEncoder::encode(Tape& tape, Tensor x) const {
    x = normed_moments(tape, norm1_, act_, x);
    x = conv2_.forward(tape, channels_first(x));
    x = normed_moments(tape, norm2_, act_, x);
    x = conv3_.forward(tape, channels_first(x));
    return normed_moments(tape, norm3_, act_, x);
}

SpeechEncoder::Speech SpeechEncoder::forward(Tape& tape, const Tensor& features) const {
    const Tensor mean = weighted_sum(tape, features);
    const std::int64_t batch = mean.shape()[0];
    const Tensor copy = ghost::clone(tape, encoder_, mean, mean.shape());
    Speech speech;
    {
        const Tensor first = conv1_local_.forward(tape, mean);
        const Shape& s = first.shape();
        const Tensor x =
            encode(tape, first.view({batch * kSpeechTokens, s[1] / kSpeechTokens, s[2]}));
        speech.tokens = with_padding_token(tape, encoder_,
                                           x.view({batch, x.shape()[1], kSpeechTokens, width_}));
    }
    const Tensor x = encode(tape, conv1_global_.forward(tape, copy));
    speech.whole = final_.forward(tape, x).view({batch, x.shape()[1], 1, width_});
    return speech;
}

SpeechInjector::SpeechInjector(Registry& r, std::string_view path, const WanWidths& w)
    : path_(r.path(path, "")), dim_(w.dim) {
    WanWidths widths = w;
    widths.qk_norm = true;
    const std::size_t count = kInjectedBlocks.size();
    for (std::size_t i = 0; i < count; ++i)
        attentions_.emplace_back(r, *r.path(path, fmt::format("injector.{}", i)), widths);
    for (std::size_t i = 0; i < count; ++i) {
        const Module own = r.path(path, fmt::format("injector_adain_layers.{}", i));
        adapted_.push_back({.path = own,
                            .silu = r.path(*own, "silu"),
                            .linear = Linear(r, r.path(*own, "linear"), w.dim, 2 * w.dim),
                            .norm = LayerNorm(r, r.path(*own, "norm"), w.dim, Affine::No)});
    }
}

Tensor SpeechInjector::adapt(Tape& tape, const Adapted& layer, const Tensor& x,
                             const Tensor& whole) const {
    const Tensor both = [&] {
        const Tensor active = ghost::unary(tape, "silu", layer.silu, whole);
        return layer.linear.forward(tape, active);
    }();
    const Tensor half = both.view({whole.shape()[0], 1, dim_});
    const Tensor product = [&] {
        const Tensor normal = layer.norm.forward(tape, x);
        const Tensor factor = ghost::unary(tape, "add", layer.path, half);
        return ghost::binary(tape, "mul", layer.path, normal, factor);
    }();
    return ghost::binary(tape, "add", layer.path, product, half);
}

void SpeechInjector::forward(Tape& tape, int block, const Tensor& x, std::int64_t own_tokens,
                             const SpeechEncoder::Speech& speech) const {
    const auto* at = std::find(kInjectedBlocks.begin(), kInjectedBlocks.end(), block);
    if (at == kInjectedBlocks.end()) return;
    const std::size_t index = static_cast<std::size_t>(at - kInjectedBlocks.begin());
    const Shape& t = speech.tokens.shape();
    const std::int64_t frames = t[0] * t[1];
    const Tensor own = x.view({t[0], own_tokens, dim_});
    const Shape by_frame{frames, own_tokens / t[1], dim_};
    // A part of several videos' tokens is not contiguous.
    const Tensor in = t[0] > 1 ? ghost::clone(tape, path_, own, by_frame) : own.view(by_frame);
    const Tensor adapted = adapt(tape, adapted_[index], in, speech.whole.view({frames, dim_}));
    WanConditions given;
    given.context = speech.tokens.view({frames, t[2], dim_});
    const Tensor update = attentions_[index].forward(tape, adapted, given).view(own.shape());
    const Tensor sum = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", path_, update);
        return ghost::binary(tape, "add", path_, own, scaled);
    }();
    ghost::binary_in_place(tape, "copy_", path_, sum, sum);
}

WanS2vNetwork::WanS2vNetwork(const modelfile::WanConfig& c)
    : WanNetwork(c),
      kinds_([&] {
          const Module path = registry_.path("trainable_cond_mask", "");
          registry_.add(path, "Embedding", kKinds * c.dim);
          return path;
      }()),
      speech_(registry_, "casual_audio_encoder", c.dim),
      control_embedding_(registry_, registry_.path("cond_encoder", ""), kLatentChannels, c.dim,
                         patch_shape(c)),
      injector_(registry_, "audio_injector", widths()),
      packer_(registry_.path("frame_packer", "")),
      near_(registry_, registry_.path("frame_packer", "proj"), kLatentChannels, c.dim,
            packing(1, 2)),
      middle_(registry_, registry_.path("frame_packer", "proj_2x"), kLatentChannels, c.dim,
              packing(2, 4)),
      far_(registry_, registry_.path("frame_packer", "proj_4x"), kLatentChannels, c.dim,
           packing(4, 8)) {}

StepInputs WanS2vNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    StepInputs in = WanNetwork::make_inputs(tape, wish);
    in.more.push_back(tape.input({wish.batch, SpeechEncoder::kLayers, SpeechEncoder::kFeatures,
                                  wish.call.latent_frames * kFeaturesPerCell},
                                 wish.type));
    in.more.push_back(latent_input(tape, wish, config().in_dim, 1));
    in.more.push_back(latent_input(tape, wish, kLatentChannels, kMotionFrames));
    return in;
}

Tensor WanS2vNetwork::mark(Tape& tape, const Tensor& tokens) const {
    Tensor out = tape.make(tokens.shape(), tokens.type(), "add", root());
    tape.charge(OpClass::Elementwise, "add", root(), 0,
                2 * tokens.bytes() + tokens.shape().last() * element_bytes(tokens.type()));
    return out;
}

WanS2vNetwork::Tokens WanS2vNetwork::pack_motion(Tape& tape, const Tensor& latents) const {
    const Shape& s = latents.shape();
    // Made by the processor, then filled.
    const Tensor room = ghost::create(tape, "_to_copy", packer_, s, latents.type());
    ghost::binary_in_place(tape, "copy_", packer_, room, latents);
    std::array<Tensor, 3> tokens;
    std::array<Extent3, 3> grids;
    const std::array<const Conv3d*, 3> convolutions = {&near_, &middle_, &far_};
    const std::array<std::int64_t, 3> frames = {kNearFrames, kMiddleFrames, kFarFrames};
    for (std::size_t i = 0; i < tokens.size(); ++i) {
        const Tensor part = room.view(s.with(2, frames[i]));
        const Tensor out = convolutions[i]->forward(tape, part, {.layout = InputLayout::Copied});
        const Shape& o = out.shape();
        grids[i] = {o[2], o[3], o[4]};
        tokens[i] = out.view({o[0], grids[i].volume(), o[1]});
    }
    Tokens packed;
    packed.values = ghost::cat(tape, packer_, tokens, 1);
    std::array<Tensor, 3> ropes;
    for (std::size_t i = 0; i < ropes.size(); ++i)
        ropes[i] = embed_positions(tape, grids[i], latents.type());
    packed.rope = ghost::cat(tape, packer_, ropes, 1);
    return packed;
}

Tensor WanS2vNetwork::forward(Tape& tape, const StepInputs& in) const {
    const ElementType type = in.x.type();
    const Tensor latent = padded(tape, in.x);
    const Extent3 grid = grid_of(latent);
    const Tensor own_rope = embed_positions(tape, grid, type);  // the caller's variable
    const SpeechEncoder::Speech speech = speech_.forward(tape, in.more[0]);
    WanTokens x{embed_patches(tape, patch_embedding(), latent), true};
    const std::int64_t batch = in.timesteps.shape()[0];
    const auto zeros = [&](std::int64_t count) {
        return ghost::create(tape, "zeros", root(), {batch, count}, in.timesteps.type());
    };
    Tensor t = ghost::produce(tape, OpClass::Copy, "repeat", root(), in.timesteps,
                              {batch, grid.frames}, in.timesteps.type());
    const Tape::Cast kinds = tape.cast_weight({kKinds, widths().dim}, kinds_);
    x.values = mark(tape, x.values);
    WanConditions given;
    {
        const Tensor& reference = in.more[1];
        Tokens more{embed_patches(tape, patch_embedding(), reference),
                    embed_positions(tape, grid_of(reference), type)};
        more.values = mark(tape, more.values);
        x = {join_tokens(tape, x.values, more.values), false};
        given.rope = join_tokens(tape, own_rope, more.rope);
        t = join_tokens(tape, t, zeros(reference.shape()[2]));
    }
    {
        Tokens more = pack_motion(tape, in.more[2]);
        more.values = mark(tape, more.values);
        x.values = join_tokens(tape, x.values, more.values);
        given.rope = join_tokens(tape, given.rope, more.rope);
        t = ghost::clone(tape, root(), t, {batch, 2 * t.shape()[1]});
        t = join_tokens(tape, t, zeros(kMotionTimesteps));
    }
    const Timestep timestep = embed_timestep(tape, t, type);
    given.timestep = timestep.modulation;
    given.context = embed_text(tape, in.context);
    for (std::size_t i = 0; i < blocks().size(); ++i) {
        x = blocks()[i].forward(tape, x, given);
        injector_.forward(tape, static_cast<int>(i), x.values, grid.volume(), speech);
    }
    x.values = forward_head(tape, x, timestep.embedding);
    return unpatched(tape, x.values, grid);
}

Result<std::shared_ptr<const Denoiser>> build_wan_s2v(const modelfile::WanConfig& c) {
    const bool sound = c.dim % kSidesMultiple == 0 && c.in_dim == kLatentChannels &&
                       c.patch_size == std::array<int, 3>{1, 2, 2};
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Wan S2V of width {} with {} channels cannot be", c.dim, c.in_dim));
    return std::make_shared<const WanS2vNetwork>(c);
}

}  // namespace plimsoll::memory
