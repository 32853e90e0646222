// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/minimax_music3.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the Fourier features
constexpr std::int64_t kRotated = 32;         // channels of a head
// Latents of a window and from one window to the next: 200 and 100 of the language model's frames
// (25 a second) in latents of 512 samples at 44.1 kHz.
constexpr std::int64_t kWindow = 689;
constexpr std::int64_t kHop = 344;
constexpr std::int64_t kSigmas = 1000;
constexpr MlpNames kPlainMlp{"0", "1", "2"};

// Latents that so many frames of the language model last.
std::int64_t latents_of(std::int64_t frames) {
    constexpr std::int64_t kSamplesPerSecond = 44'100;
    constexpr std::int64_t kFramesPerSecond = 25;
    constexpr std::int64_t kSamplesPerLatent = 512;
    return std::max<std::int64_t>(
        1, frames * kSamplesPerSecond / (kFramesPerSecond * kSamplesPerLatent));
}

}  // namespace

GammaBetaNorm::GammaBetaNorm(Registry& r, Module path, std::int64_t width)
    : norm_(r, path, width, Affine::No) {
    r.add_own_parameters(path, "LayerNorm", 2 * width, ModuleStorage::AsNetwork);
}

Tensor GammaBetaNorm::forward(Tape& tape, const Tensor& x) const {
    return norm_.forward(tape, x);
}

MiniMaxMusic3Block::MiniMaxMusic3Block(Registry& r, std::string_view path,
                                       const modelfile::MiniMaxMusic3Config& c)
    : path_(r.path(path, "")),
      self_(r.path(path, "self_attn")),
      glu_(r.path(path, "ff.ff.0")),
      heads_(c.num_heads),
      head_dim_(c.embed_dim / c.num_heads),
      ff_dim_(c.ff_dim),
      pre_norm_(r, r.path(path, "pre_norm"), c.embed_dim),
      to_qkv_(r, r.path(path, "self_attn.to_qkv"), c.embed_dim, 3 * std::int64_t{c.embed_dim},
              Bias::No),
      to_out_(r, r.path(path, "self_attn.to_out"), c.embed_dim, c.embed_dim, Bias::No),
      ff_norm_(r, r.path(path, "ff_norm"), c.embed_dim),
      ff_in_(r, r.path(path, "ff.ff.0.proj"), c.embed_dim, 2 * ff_dim_),
      ff_out_(r, r.path(path, "ff.ff.2"), ff_dim_, c.embed_dim) {}

// As Stable Audio rotates: some channels of a head, joined with those that stay as they are.
Tensor MiniMaxMusic3Block::rotate(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const Tensor part = x.view(x.shape().with_last(kRotated));
    const auto times = [&](const Tensor& t) {
        return ghost::combine(tape, "mul", self_, {&t, &angles}, t.shape(), t.type());
    };
    const Tensor rotated = [&] {
        const Tensor straight = times(part);
        const Tensor crossed = [&] {
            const Tensor turned = [&] {
                const Tensor half = part.view(part.shape().with_last(kRotated / 2));
                const Tensor negated = ghost::unary(tape, "neg", self_, half);
                return ghost::cat(tape, self_, std::array<Tensor, 2>{negated, half}, 3);
            }();
            return times(turned);
        }();
        return ghost::binary(tape, "add", self_, straight, crossed);
    }();
    const std::array<Tensor, 2> both = {rotated, x.view(x.shape().with_last(head_dim_ - kRotated))};
    return ghost::cat(tape, self_, both, 3);
}

Tensor MiniMaxMusic3Block::attend(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const Shape& s = x.shape();
    const Tensor v = to_qkv_.forward(tape, x).view({s[0], heads_, s[1], head_dim_});
    const Tensor q = rotate(tape, v, angles);
    const Tensor k = rotate(tape, v, angles);
    const Tensor out = ghost::attention(
        tape, self_, q, k, v,
        {.batch = s[0], .heads = heads_, .queries = s[1], .keys = s[1], .head_dim = head_dim_});
    return to_out_.forward(tape, out.view(s));
}

Tensor MiniMaxMusic3Block::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor both = ff_in_.forward(tape, x);
        const Tensor half = both.view(both.shape().with_last(ff_dim_));
        const Tensor gate = ghost::unary(tape, "silu", glu_, half);
        return ghost::binary(tape, "mul", glu_, half, gate);
    }();
    return ff_out_.forward(tape, hidden);
}

Tensor MiniMaxMusic3Block::forward(Tape& tape, const Tensor& callers_x,
                                   const Tensor& angles) const {
    Tensor x = callers_x;
    const auto add = [&](const GammaBetaNorm& norm, auto part) {
        const Tensor update = [&] {
            const Tensor normal = norm.forward(tape, x);
            return part(normal);
        }();
        x = ghost::binary(tape, "add", path_, x, update);
    };
    add(pre_norm_, [&](const Tensor& t) { return attend(tape, t, angles); });
    add(ff_norm_, [&](const Tensor& t) { return feed_forward(tape, t); });
    return x;
}

MiniMaxMusic3Network::MiniMaxMusic3Network(const modelfile::MiniMaxMusic3Config& c)
    : config_(c),
      root_([&] {
          const Module root = registry_.path("", "");
          registry_.add_own_parameters(root, "MiniMaxMusic3DiT", c.context_layers + 1,
                                       ModuleStorage::AsNetwork);
          return root;
      }()),
      inner_(registry_.path("diffusion_transformer", "")),
      conditioner_(registry_, registry_.path("latent_conditioners.0", ""), c.context_width,
                   c.embed_dim, {.kernel = 3, .padding = 1}),
      transformer_(registry_.path(*inner_, "transformer")),
      project_in_(registry_, registry_.path(*transformer_, "project_in"), joined_channels(),
                  c.embed_dim, Bias::No),
      project_out_(registry_, registry_.path(*transformer_, "project_out"), c.embed_dim,
                   c.latent_channels, Bias::No),
      rotary_([&] {
          const Module own = registry_.path(*transformer_, "rotary_pos_emb");
          registry_.add_buffer(own, "RotaryEmbedding", kRotated / 2, ModuleStorage::AsNetwork,
                               Saved::Yes);
          return own;
      }()),
      blocks_([&] {
          std::vector<MiniMaxMusic3Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("{}.layers.{}", *transformer_, i), c);
          return blocks;
      }()),
      time_features_([&] {
          const Module own = registry_.path(*inner_, "timestep_features");
          registry_.add_own_parameters(own, "FourierFeatures", kTimestepWidth / 2,
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      time_in_(registry_, *registry_.path(*inner_, "to_timestep_embed"), kTimestepWidth,
               c.embed_dim, Bias::Yes, kPlainMlp),
      preprocess_(registry_, registry_.path(*inner_, "preprocess_conv"), joined_channels(),
                  joined_channels(), {}, {.bias = Bias::No}),
      postprocess_(registry_, registry_.path(*inner_, "postprocess_conv"), c.latent_channels,
                   c.latent_channels, {}, {.bias = Bias::No}) {}

// The latents, as many zeros, and the condition.
std::int64_t MiniMaxMusic3Network::joined_channels() const {
    return 2 * std::int64_t{config_.latent_channels} + config_.embed_dim;
}

// The recordings keep another input of at most 512 bytes, whose name they do not tell: it is not
// here.
StepInputs MiniMaxMusic3Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.latent_channels, call.latent_width}, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens,
                             std::int64_t{config_.context_layers} * config_.context_width},
                            wish.type);
    return in;
}

std::vector<ModuleEntry> MiniMaxMusic3Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// [N, embed_dim, latents] of the whole sound: the layers' weighted mean, filtered, at the latents'
// rate.
Tensor MiniMaxMusic3Network::mix_context(Tape& tape, const Tensor& context) const {
    const Shape& s = context.shape();
    Tensor mean = [&] {
        const Tensor weights =
            ghost::create(tape, "_softmax", root_, {config_.context_layers}, context.type());
        // The product wants the layers last: the whole context is copied.
        const Tensor copy = ghost::clone(
            tape, root_, context, {s[0], config_.context_width, s[1], config_.context_layers});
        Tensor out = tape.make({s[0], config_.context_width, s[1]}, context.type(), "bmm", root_);
        tape.charge(OpClass::MatMul, "bmm", root_, ghost::saturating_product({2, copy.elements()}),
                    copy.bytes() + weights.bytes() + out.bytes());
        return out;
    }();
    mean = ghost::unary(tape, "mul", root_, mean);
    const Tensor filtered = conditioner_.forward(tape, mean);
    return ghost::produce(tape, OpClass::Copy, "upsample_nearest1d", root_, filtered,
                          filtered.shape().with_last(latents_of(s[1])), filtered.type());
}

Tensor MiniMaxMusic3Network::embed_time(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.timesteps.elements();
    const Tensor waves = [&] {
        const Tensor scaled = ghost::unary(tape, "mul", time_features_, in.timesteps);
        const Tensor angles =
            tape.make({batch, kTimestepWidth / 2}, ElementType::Float32, "mm", time_features_);
        tape.charge(OpClass::MatMul, "mm", time_features_,
                    ghost::saturating_product({2, batch, kTimestepWidth / 2}),
                    scaled.bytes() + angles.bytes());
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", time_features_, angles),
                                            ghost::unary(tape, "sin", time_features_, angles)};
        return ghost::cat(tape, time_features_, both, 1);
    }();
    return time_in_.forward(tape, ghost::to_type(tape, inner_, waves, in.x.type()));
}

Tensor MiniMaxMusic3Network::run_window(Tape& tape, const Tensor& latents, const Tensor& condition,
                                        const Tensor& time) const {
    const Shape& s = latents.shape();
    const Tensor x = [&] {
        const Tensor zeros = ghost::create_like(tape, "zeros_like", inner_, latents);
        const Tensor joined =
            ghost::cat(tape, inner_, std::array<Tensor, 3>{latents, zeros, condition}, 1);
        const Tensor filtered = preprocess_.forward(tape, joined);
        return ghost::binary(tape, "add", inner_, filtered, joined);
    }();
    Tensor h = project_in_.forward_batched(tape, x.view({s[0], s[2], joined_channels()}));
    h = ghost::cat(tape, transformer_,
                   std::array<Tensor, 2>{time.view({s[0], 1, config_.embed_dim}), h}, 1);
    const Tensor angles = [&] {
        const Tensor positions =
            ghost::create(tape, "arange", rotary_, {s[2] + 1}, ElementType::Float32);
        return ghost::produce(tape, OpClass::Elementwise, "mul", rotary_, positions,
                              {s[2] + 1, kRotated}, ElementType::Float32);
    }();
    for (const MiniMaxMusic3Block& block : blocks_) h = block.forward(tape, h, angles);
    // Without the token in front.
    const Tensor own = project_out_.forward_slice(tape, h.view(h.shape().with(1, s[2]))).view(s);
    const Tensor filtered = postprocess_.forward_strided(tape, own);
    return ghost::binary(tape, "add", inner_, filtered, own);
}

Tensor MiniMaxMusic3Network::forward(Tape& tape, const StepInputs& in) const {
    const Tensor condition = mix_context(tape, in.context);
    const Tensor sum = ghost::create_like(tape, "zeros_like", root_, in.x);
    const std::int64_t latents = in.x.shape().last();
    for (std::int64_t at = 0;; at += kHop) {
        const std::int64_t length = std::min(kWindow, latents - at);
        const Tensor time = embed_time(tape, in);
        const Tensor part = run_window(tape, in.x.view(in.x.shape().with_last(length)),
                                       condition.view(condition.shape().with_last(length)), time);
        ghost::binary_in_place(tape, "add_", root_, sum.view(part.shape()), part);
        if (at + kWindow >= latents) break;
    }
    ghost::unary_in_place(tape, "div_", root_, sum);
    return sum;
}

Result<std::shared_ptr<const Denoiser>> build_minimax_music3(
    const modelfile::MiniMaxMusic3Config& c) {
    const bool sound = within(c.latent_channels, 1, kWidthMax) &&
                       within(c.context_layers, 1, kDepthMax) &&
                       within(c.context_width, 1, kWidthMax) && within(c.embed_dim, 1, kWidthMax) &&
                       within(c.ff_dim, 1, kWidthMax) && within(c.depth, 1, kDepthMax) &&
                       within(c.num_heads, 1, c.embed_dim) && c.embed_dim % c.num_heads == 0 &&
                       c.embed_dim / c.num_heads > kRotated;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("MiniMax Music 3 with {} blocks of width {} and {} heads cannot be",
                                c.depth, c.embed_dim, c.num_heads));
    return std::make_shared<const MiniMaxMusic3Network>(c);
}

}  // namespace plimsoll::memory
