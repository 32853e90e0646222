// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/stable_audio.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kTimestepWidth = 256;  // of the Fourier features
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kRotatedMin = 32;
constexpr std::int64_t kSigmas = 1000;  // of ComfyUI's continuous schedule
constexpr MlpNames kPlainMlp{"0", "1", "2"};

}  // namespace

std::int64_t StableAudioWidths::rotated() const {
    return std::max(head_dim() / 2, kRotatedMin);
}

GammaNorm::GammaNorm(Registry& r, Module path, std::int64_t width)
    : path_(path), width_(width), norm_(r, path, width, Affine::No) {
    r.add_own_parameters(path, "LayerNorm", width, ModuleStorage::AsNetwork);
}

// The scale is copied for each forward, whatever its type.
Tensor GammaNorm::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast gamma = tape.clone_weight({width_}, path_);
    return norm_.forward(tape, x);
}

StableAudioBlock::StableAudioBlock(Registry& r, std::string_view path, const StableAudioWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      pre_norm_(r, r.path(path, "pre_norm"), w.hidden),
      self_(r.path(path, "self_attn")),
      to_qkv_(r, r.path(path, "self_attn.to_qkv"), w.hidden, 3 * w.hidden, Bias::No),
      self_out_(r, r.path(path, "self_attn.to_out"), w.hidden, w.hidden, Bias::No),
      cross_norm_(r, r.path(path, "cross_attend_norm"), w.hidden),
      cross_(r.path(path, "cross_attn")),
      to_q_(r, r.path(path, "cross_attn.to_q"), w.hidden, w.hidden, Bias::No),
      to_kv_(r, r.path(path, "cross_attn.to_kv"), w.context, 2 * w.context, Bias::No),
      cross_out_(r, r.path(path, "cross_attn.to_out"), w.hidden, w.hidden, Bias::No),
      ff_norm_(r, r.path(path, "ff_norm"), w.hidden),
      glu_(r.path(path, "ff.ff.0")),
      glu_act_(r.path(path, "ff.ff.0.act")),
      ff_in_(r, r.path(path, "ff.ff.0.proj"), w.hidden, 2 * kMlpRatio * w.hidden),
      ff_out_(r, r.path(path, "ff.ff.2"), kMlpRatio * w.hidden, w.hidden) {}

// Some channels of a head in fp32, joined with those that stay as they are.
Tensor StableAudioBlock::rotate(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const Tensor part = x.view(x.shape().with_last(widths_.rotated()));
    const auto wave = [&](std::string_view name, const Tensor& t) {
        const Tensor product = [&] {
            const Tensor table = ghost::unary(tape, name, self_, angles);
            return ghost::binary(tape, "mul", self_, t, table);
        }();
        return ghost::unary(tape, "mul", self_, product);  // by a scale of one
    };
    Tensor rotated = [&] {
        const Tensor straight = wave("cos", part);
        const Tensor crossed = [&] {
            const Tensor turned = [&] {
                const Tensor half = part.view(part.shape().with_last(widths_.rotated() / 2));
                const Tensor negated = ghost::unary(tape, "neg", self_, half);
                return ghost::cat(tape, self_, std::array<Tensor, 2>{negated, half}, 3);
            }();
            return wave("sin", turned);
        }();
        return ghost::binary(tape, "add", self_, straight, crossed);
    }();
    const std::int64_t rest = x.shape().last() - widths_.rotated();
    const std::array<Tensor, 2> both = {rotated, x.view(x.shape().with_last(rest))};
    return ghost::cat(tape, self_, both, 3);
}

Tensor StableAudioBlock::attend_to_itself(Tape& tape, const Tensor& x, const Tensor& angles) const {
    const Shape& s = x.shape();
    const Shape heads{s[0], widths_.heads, s[1], widths_.head_dim()};
    Tensor q = to_qkv_.forward(tape, x).view(heads);
    Tensor k = q;
    const Tensor v = q;
    q = ghost::to_type(tape, self_, q, ElementType::Float32);
    k = ghost::to_type(tape, self_, k, ElementType::Float32);
    q = rotate(tape, q, angles);
    k = rotate(tape, k, angles);
    q = ghost::to_type(tape, self_, q, v.type());
    k = ghost::to_type(tape, self_, k, v.type());
    const Tensor out = ghost::attention(tape, self_, q, k, v,
                                        {.batch = s[0],
                                         .heads = widths_.heads,
                                         .queries = s[1],
                                         .keys = s[1],
                                         .head_dim = widths_.head_dim()});
    return self_out_.forward(tape, out.view(s));
}

Tensor StableAudioBlock::attend_to_text(Tape& tape, const Tensor& x, const Tensor& context) const {
    const Shape& s = x.shape();
    const std::int64_t tokens = context.shape()[1];
    const Tensor q = to_q_.forward(tape, x);
    const auto [k, v] = [&] {
        const Tensor kv = to_kv_.forward(tape, context);
        const Tensor part =
            kv.view({s[0], widths_.context / widths_.head_dim(), tokens, widths_.head_dim()});
        if (widths_.context == widths_.hidden) return std::pair(part, part);
        const auto repeated = [&] {
            return ghost::clone(tape, cross_, part, part.shape().with(1, widths_.heads));
        };
        Tensor wide_k = repeated();
        Tensor wide_v = repeated();
        return std::pair(std::move(wide_k), std::move(wide_v));
    }();
    const Tensor out = ghost::attention(tape, cross_, q, k, v,
                                        {.batch = s[0],
                                         .heads = widths_.heads,
                                         .queries = s[1],
                                         .keys = tokens,
                                         .head_dim = widths_.head_dim()});
    return cross_out_.forward(tape, out.view(s));
}

Tensor StableAudioBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor both = ff_in_.forward(tape, x);
        const Tensor half = both.view(both.shape().with_last(kMlpRatio * widths_.hidden));
        const Tensor gate = ghost::unary(tape, "silu", glu_act_, half);
        return ghost::binary(tape, "mul", glu_, half, gate);
    }();
    return ff_out_.forward(tape, hidden);
}

Tensor StableAudioBlock::forward(Tape& tape, const Tensor& callers_x, const Tensor& context,
                                 const Tensor& angles) const {
    Tensor x = callers_x;
    const auto add = [&](const GammaNorm& norm, auto part) {
        const Tensor update = [&] {
            const Tensor normal = norm.forward(tape, x);
            return part(normal);
        }();
        x = ghost::binary(tape, "add", path_, x, update);
    };
    add(pre_norm_, [&](const Tensor& t) { return attend_to_itself(tape, t, angles); });
    add(cross_norm_, [&](const Tensor& t) { return attend_to_text(tape, t, context); });
    add(ff_norm_, [&](const Tensor& t) { return feed_forward(tape, t); });
    return x;
}

StableAudioNetwork::StableAudioNetwork(const modelfile::StableAudioConfig& c)
    : config_(c),
      widths_{.hidden = c.embed_dim, .heads = c.num_heads, .context = c.cond_token_dim},
      root_(registry_.path("", "")),
      time_features_([&] {
          const Module own = registry_.path("timestep_features", "");
          registry_.add_own_parameters(own, "FourierFeatures", kTimestepWidth / 2,
                                       ModuleStorage::AsNetwork);
          return own;
      }()),
      time_in_(registry_, "to_timestep_embed", kTimestepWidth, c.embed_dim, Bias::Yes, kPlainMlp),
      text_in_(registry_, "to_cond_embed", c.cond_token_dim, c.cond_token_dim, Bias::No, kPlainMlp),
      global_in_(registry_, "to_global_embed", c.global_cond_dim, c.embed_dim, Bias::No, kPlainMlp),
      transformer_(registry_.path("transformer", "")),
      project_in_(registry_, registry_.path("transformer", "project_in"), c.io_channels,
                  c.embed_dim, Bias::No),
      project_out_(registry_, registry_.path("transformer", "project_out"), c.embed_dim,
                   c.io_channels, Bias::No),
      rotary_([&] {
          const Module own = registry_.path("transformer", "rotary_pos_emb");
          registry_.add_buffer(own, "RotaryEmbedding", widths_.rotated() / 2,
                               ModuleStorage::AsNetwork, Saved::Yes);
          return own;
      }()),
      blocks_([&] {
          std::vector<StableAudioBlock> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer.layers.{}", i), widths_);
          return blocks;
      }()),
      preprocess_(registry_, registry_.path("preprocess_conv", ""), c.io_channels, c.io_channels,
                  {}, {.bias = Bias::No}),
      postprocess_(registry_, registry_.path("postprocess_conv", ""), c.io_channels, c.io_channels,
                   {}, {.bias = Bias::No}) {}

StepInputs StableAudioNetwork::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.io_channels, call.latent_width}, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.cond_token_dim}, wish.type);
    in.more.push_back(tape.input({wish.cond_batch, config_.global_cond_dim}, wish.type));
    return in;
}

std::vector<ModuleEntry> StableAudioNetwork::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Tensor StableAudioNetwork::embed_time(Tape& tape, const StepInputs& in) const {
    const std::int64_t batch = in.timesteps.elements();
    const Tensor waves = [&] {
        const Tensor angles = [&] {
            const Tensor scaled = ghost::unary(tape, "mul", time_features_, in.timesteps);
            const Tensor weight = ghost::create(tape, "_to_copy", time_features_,
                                                {kTimestepWidth / 2, 1}, ElementType::Float32);
            Tensor product =
                tape.make({batch, kTimestepWidth / 2}, ElementType::Float32, "mm", time_features_);
            tape.charge(OpClass::MatMul, "mm", time_features_,
                        ghost::saturating_product({2, batch, kTimestepWidth / 2}),
                        scaled.bytes() + product.bytes());
            return product;
        }();
        const std::array<Tensor, 2> both = {ghost::unary(tape, "cos", time_features_, angles),
                                            ghost::unary(tape, "sin", time_features_, angles)};
        return ghost::cat(tape, time_features_, both, 1);
    }();
    return time_in_.forward(tape, ghost::to_type(tape, root_, waves, in.x.type()));
}

// Every position times every frequency, twice side by side.
Tensor StableAudioNetwork::make_angles(Tape& tape, std::int64_t tokens) const {
    Tensor positions = ghost::create(tape, "arange", rotary_, {tokens}, ElementType::Float32);
    positions = ghost::unary(tape, "div", rotary_, positions);
    const std::int64_t half = widths_.rotated() / 2;
    const Tensor angles = [&] {
        const Tensor frequencies =
            ghost::create(tape, "_to_copy", rotary_, {half}, ElementType::Float32);
        return ghost::combine(tape, "mul", rotary_, {&positions, &frequencies}, {tokens, half},
                              ElementType::Float32);
    }();
    return ghost::cat(tape, transformer_, std::array<Tensor, 2>{angles, angles}, 1);
}

Tensor StableAudioNetwork::transform(Tape& tape, const Tensor& tokens, const Tensor& prepended,
                                     const Tensor& callers_mask, const Tensor& context) const {
    const std::int64_t batch = tokens.shape()[0];
    Tensor x = project_in_.forward_batched(tape, tokens);
    x = ghost::cat(tape, transformer_,
                   std::array<Tensor, 2>{prepended.view({batch, 1, widths_.hidden}), x}, 1);
    // Made, but handed to nobody.
    const Tensor mask = [&] {
        const Tensor own = ghost::create(tape, "ones", transformer_, {batch, tokens.shape()[1]},
                                         ElementType::Bool);
        return ghost::cat(tape, transformer_, std::array<Tensor, 2>{callers_mask, own}, 1);
    }();
    const Tensor angles = make_angles(tape, x.shape()[1]);
    for (const StableAudioBlock& block : blocks_) x = block.forward(tape, x, context, angles);
    return project_out_.forward(tape, x);
}

Tensor StableAudioNetwork::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const Tensor context = text_in_.forward(tape, in.context);
    Tensor global = global_in_.forward(tape, in.more[0]);
    const Tensor time = embed_time(tape, in);
    global = ghost::binary(tape, "add", root_, global, time);
    const Tensor mask = ghost::create(tape, "ones", root_, {s[0], 1}, ElementType::Bool);
    const Tensor x = [&] {
        const Tensor filtered = preprocess_.forward(tape, in.x);
        return ghost::binary(tape, "add", root_, filtered, in.x);
    }();
    const Tensor tokens = transform(tape, x.view({s[0], s[2], s[1]}), global, mask, context);
    const Tensor own = tokens.view(s);  // without the token in front
    const Tensor filtered = postprocess_.forward_strided(tape, own);
    return ghost::binary(tape, "add", root_, filtered, own);
}

Result<std::shared_ptr<const Denoiser>> build_stable_audio(const modelfile::StableAudioConfig& c) {
    bool sound = within(c.io_channels, 1, kWidthMax) && within(c.embed_dim, 1, kWidthMax) &&
                 within(c.cond_token_dim, 1, c.embed_dim) &&
                 within(c.global_cond_dim, 1, kWidthMax) && within(c.depth, 1, kDepthMax) &&
                 within(c.num_heads, 1, c.embed_dim) && c.embed_dim % c.num_heads == 0;
    if (sound) {
        const int head_dim = c.embed_dim / c.num_heads;
        sound = head_dim > kRotatedMin && head_dim % 4 == 0 && c.cond_token_dim % head_dim == 0 &&
                c.num_heads % (c.cond_token_dim / head_dim) == 0;
    }
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Stable Audio with {} blocks, {} heads of {} in all cannot be",
                                c.depth, c.num_heads, c.embed_dim));
    return std::make_shared<const StableAudioNetwork>(c);
}

}  // namespace plimsoll::memory
