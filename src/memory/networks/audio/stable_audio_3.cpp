// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/stable_audio_3.h"

#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::StableAudio3Config;

namespace {

constexpr std::int64_t kTimestepWidth = 256;
constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kRotated = 32;  // channels of a head: half of them, at least so many
constexpr std::int64_t kModulations = 6;
constexpr std::int64_t kHalves = 2;     // of a differential attention
constexpr std::int64_t kSigmas = 1000;  // of ComfyUI's flow schedule
constexpr MlpNames kPlainMlp{"0", "1", "2"};

// The first channels of a head turned by tables, the rest as it is: a new tensor.
Tensor turn(Tape& tape, Module module, const Tensor& x, const Tensor& angles) {
    const Tensor part = x.view(x.shape().with_last(kRotated));
    const auto wave = [&](std::string_view name, const Tensor& t) {
        const Tensor product = [&] {
            const Tensor table = ghost::unary(tape, name, module, angles);
            return ghost::binary(tape, "mul", module, t, table);
        }();
        return ghost::unary(tape, "mul", module, product);  // by a scale of one
    };
    const Tensor rotated = [&] {
        const Tensor straight = wave("cos", part);
        const Tensor crossed = [&] {
            const Tensor half = part.view(part.shape().with_last(kRotated / 2));
            const Tensor negated = ghost::unary(tape, "neg", module, half);
            const Tensor swapped =
                ghost::cat(tape, module, std::array<Tensor, 2>{negated, half}, 4);
            return wave("sin", swapped);
        }();
        return ghost::binary(tape, "add", module, straight, crossed);
    }();
    const std::int64_t rest = x.shape().last() - kRotated;
    return ghost::cat(tape, module,
                      std::array<Tensor, 2>{rotated, x.view(x.shape().with_last(rest))}, 4);
}

}  // namespace

GammaRms::GammaRms(Registry& r, Module path, std::int64_t width) : path_(path), width_(width) {
    r.add_own_parameters(path, "RMSNorm", width, ModuleStorage::AsNetwork);
}

Tensor GammaRms::forward(Tape& tape, const Tensor& x) const {
    const Tape::Cast gamma = tape.clone_weight({width_}, path_);
    return rms_norm(tape, path_, x, Affine::Yes);
}

StableAudio3Block::StableAudio3Block(Registry& r, std::string_view path,
                                     const StableAudio3Widths& w)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "TransformerBlock", kModulations * w.hidden,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      widths_(w),
      pre_norm_(r, r.path(path, "pre_norm"), w.hidden),
      self_(r.path(path, "self_attn")),
      to_qkv_(r, r.path(path, "self_attn.to_qkv"), w.hidden, 5 * w.hidden, Bias::No),
      self_out_(r, r.path(path, "self_attn.to_out"), w.hidden, w.hidden, Bias::No),
      self_q_norm_(r, r.path(path, "self_attn.q_norm"), w.head_dim()),
      self_k_norm_(r, r.path(path, "self_attn.k_norm"), w.head_dim()),
      cross_norm_(r, r.path(path, "cross_attend_norm"), w.hidden),
      cross_(r.path(path, "cross_attn")),
      to_q_(r, r.path(path, "cross_attn.to_q"), w.hidden, kHalves * w.hidden, Bias::No),
      to_kv_(r, r.path(path, "cross_attn.to_kv"), w.hidden, 3 * w.hidden, Bias::No),
      cross_out_(r, r.path(path, "cross_attn.to_out"), w.hidden, w.hidden, Bias::No),
      cross_q_norm_(r, r.path(path, "cross_attn.q_norm"), w.head_dim()),
      cross_k_norm_(r, r.path(path, "cross_attn.k_norm"), w.head_dim()),
      ff_norm_(r, r.path(path, "ff_norm"), w.hidden),
      glu_(r.path(path, "ff.ff.0")),
      ff_in_(r, r.path(path, "ff.ff.0.proj"), w.hidden, 2 * kMlpRatio * w.hidden),
      ff_out_(r, r.path(path, "ff.ff.2"), kMlpRatio * w.hidden, w.hidden),
      local_in_(r, r.path(path, "to_local_embed.0"), w.local, w.hidden),
      local_out_(r, r.path(path, "to_local_embed.2"), w.hidden, w.hidden) {}

Tensor StableAudio3Block::modulated(Tape& tape, const GammaRms& norm, const Tensor& x,
                                    const Tensor& part) const {
    const Tensor normal = norm.forward(tape, x);
    const Tensor product = [&] {
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        return ghost::binary(tape, "mul", path_, normal, factor);
    }();
    return ghost::binary(tape, "add", path_, product, part);
}

Tensor StableAudio3Block::gated(Tape& tape, const Tensor& x, const Tensor& part) const {
    const Tensor open = [&] {
        const Tensor rest = ghost::unary(tape, "rsub", path_, part);
        return ghost::unary(tape, "sigmoid", path_, rest);
    }();
    return ghost::binary(tape, "mul", path_, x, open);
}

Tensor StableAudio3Block::difference(Tape& tape, Module module, const Tensor& q, const Tensor& k,
                                     const Tensor& v) const {
    const Shape& s = q.shape();
    const std::int64_t tokens = s[3];
    const std::int64_t keys = k.shape()[3];
    const auto half = [&](const Tensor& both, std::int64_t length) {
        return both.view({s[0], widths_.heads, length, widths_.head_dim()});
    };
    const auto attended = [&] {
        return ghost::attention(tape, module, half(q, tokens), half(k, keys), v,
                                {.batch = s[0],
                                 .heads = widths_.heads,
                                 .queries = tokens,
                                 .keys = keys,
                                 .head_dim = widths_.head_dim()});
    };
    const Tensor one = attended();
    const Tensor other = attended();
    return ghost::binary(tape, "sub", module, one, other).view({s[0], tokens, widths_.hidden});
}

// Queries, keys and values are views of one tensor until they are stacked.
Tensor StableAudio3Block::attend_to_itself(Tape& tape, const Tensor& x,
                                           const Tensor& angles) const {
    const Shape& s = x.shape();
    const Shape stacked{s[0], kHalves, widths_.heads, s[1], widths_.head_dim()};
    const Tensor all = to_qkv_.forward(tape, x);
    const Tensor v = all.view({s[0], widths_.heads, s[1], widths_.head_dim()});
    Tensor q = ghost::produce(tape, OpClass::Copy, "stack", self_, all, stacked, all.type());
    Tensor k = ghost::produce(tape, OpClass::Copy, "stack", self_, all, stacked, all.type());
    q = self_q_norm_.forward(tape, q);
    k = self_k_norm_.forward(tape, k);
    q = ghost::to_type(tape, self_, q, ElementType::Float32);
    k = ghost::to_type(tape, self_, k, ElementType::Float32);
    q = turn(tape, self_, q, angles);
    k = turn(tape, self_, k, angles);
    q = ghost::to_type(tape, self_, q, v.type());
    k = ghost::to_type(tape, self_, k, v.type());
    const Tensor out = difference(tape, self_, q, k, v);
    return self_out_.forward(tape, out);
}

Tensor StableAudio3Block::attend_to_text(Tape& tape, const Tensor& x, const Tensor& context) const {
    const Shape& s = x.shape();
    const std::int64_t tokens = context.shape()[1];
    const auto stacked = [&](const Tensor& from, std::int64_t length) {
        return ghost::produce(tape, OpClass::Copy, "stack", cross_, from,
                              {s[0], kHalves, widths_.heads, length, widths_.head_dim()},
                              from.type());
    };
    const Tensor both = to_q_.forward(tape, x);
    Tensor q = stacked(both, s[1]);
    const Tensor kv = to_kv_.forward(tape, context);
    Tensor k = stacked(kv, tokens);
    const Tensor v = kv.view({s[0], widths_.heads, tokens, widths_.head_dim()});
    q = cross_q_norm_.forward(tape, q);
    k = cross_k_norm_.forward(tape, k);
    const Tensor out = difference(tape, cross_, q, k, v);
    return cross_out_.forward(tape, out);
}

// Of the latents; nothing for the tokens in front of them.
Tensor StableAudio3Block::embed_local(Tape& tape, const Tensor& local, std::int64_t tokens) const {
    const Tensor embedded = [&] {
        const Tensor active = [&] {
            const Tensor first = local_in_.forward_batched(tape, local);
            return ghost::unary(tape, "silu", path_, first);
        }();
        return local_out_.forward(tape, active);
    }();
    return ghost::produce(tape, OpClass::Copy, "constant_pad_nd", path_, embedded,
                          embedded.shape().with(1, tokens), embedded.type());
}

Tensor StableAudio3Block::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor both = ff_in_.forward(tape, x);
        const Tensor half = both.view(both.shape().with_last(kMlpRatio * widths_.hidden));
        const Tensor gate = ghost::unary(tape, "silu", glu_, half);
        return ghost::binary(tape, "mul", glu_, half, gate);
    }();
    return ff_out_.forward(tape, hidden);
}

Tensor StableAudio3Block::forward(Tape& tape, const Tensor& callers_x, const Tensor& context,
                                  const Tensor& modulation, const Tensor& local,
                                  const Tensor& angles) const {
    const Tensor values = ghost::unary(tape, "add", path_, modulation);
    const Tensor part = values.view({callers_x.shape()[0], 1, widths_.hidden});
    Tensor residual = callers_x;
    Tensor x = modulated(tape, pre_norm_, callers_x, part);
    x = attend_to_itself(tape, x, angles);
    x = gated(tape, x, part);
    x = ghost::binary(tape, "add", path_, x, residual);
    {
        const Tensor update = [&] {
            const Tensor normal = cross_norm_.forward(tape, x);
            return attend_to_text(tape, normal, context);
        }();
        x = ghost::binary(tape, "add", path_, x, update);
    }
    {
        const Tensor update = embed_local(tape, local, x.shape()[1]);
        x = ghost::binary(tape, "add", path_, x, update);
    }
    residual = x;
    x = modulated(tape, ff_norm_, x, part);
    x = feed_forward(tape, x);
    x = gated(tape, x, part);
    return ghost::binary(tape, "add", path_, x, residual);
}

StableAudio3Network::StableAudio3Network(const StableAudio3Config& c)
    : config_(c),
      widths_{.hidden = c.embed_dim, .heads = c.num_heads, .local = c.local_add_cond_dim},
      root_(registry_.path("", "")),
      time_in_(registry_, "to_timestep_embed", kTimestepWidth, c.embed_dim, Bias::Yes, kPlainMlp),
      text_in_(registry_, "to_cond_embed", c.cond_token_dim, c.embed_dim, Bias::No, kPlainMlp),
      global_in_(registry_, "to_global_embed", c.global_cond_dim, c.embed_dim, Bias::No, kPlainMlp),
      transformer_(registry_.path("transformer", "")),
      project_in_(registry_, registry_.path("transformer", "project_in"), c.io_channels,
                  c.embed_dim, Bias::No),
      project_out_(registry_, registry_.path("transformer", "project_out"), c.embed_dim,
                   c.io_channels, Bias::No),
      rotary_([&] {
          const Module own = registry_.path("transformer", "rotary_pos_emb");
          registry_.add_buffer(own, "RotaryEmbedding", kRotated / 2, ModuleStorage::AsNetwork,
                               Saved::Yes);
          return own;
      }()),
      memory_([&] {
          registry_.add_own_parameters(transformer_, "ContinuousTransformer",
                                       std::int64_t{c.num_memory_tokens} * c.embed_dim,
                                       ModuleStorage::AsNetwork);
          return transformer_;
      }()),
      shared_in_(registry_, registry_.path("transformer", "global_cond_embedder.0"), c.embed_dim,
                 c.embed_dim),
      shared_out_(registry_, registry_.path("transformer", "global_cond_embedder.2"), c.embed_dim,
                  kModulations * c.embed_dim),
      blocks_([&] {
          std::vector<StableAudio3Block> blocks;
          blocks.reserve(static_cast<std::size_t>(c.depth));
          for (int i = 0; i < c.depth; ++i)
              blocks.emplace_back(registry_, fmt::format("transformer.layers.{}", i), widths_);
          return blocks;
      }()),
      preprocess_(registry_, registry_.path("preprocess_conv", ""), c.io_channels, c.io_channels,
                  {}, {.bias = Bias::No}),
      postprocess_(registry_, registry_.path("postprocess_conv", ""), c.io_channels, c.io_channels,
                   {}, {.bias = Bias::No}) {}

// The text is padded to 256 tokens with a learned one; the length of the sound is one more.
StepInputs StableAudio3Network::make_inputs(Tape& tape, const InputWish& wish) const {
    constexpr std::int64_t kTextTokens = 256;
    const StepCall& call = wish.call;
    const std::int64_t tokens = std::max<std::int64_t>(call.tokens, kTextTokens) + 1;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.io_channels, call.latent_width}, wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, tokens, config_.cond_token_dim}, wish.type);
    in.more.push_back(tape.input({wish.cond_batch, config_.global_cond_dim}, wish.type));
    in.more.push_back(
        tape.input({wish.cond_batch, config_.local_add_cond_dim, call.latent_width}, wish.type));
    return in;
}

std::vector<ModuleEntry> StableAudio3Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

// Every position times every frequency, twice side by side.
Tensor StableAudio3Network::make_angles(Tape& tape, std::int64_t tokens) const {
    const Tensor angles =
        ghost::create(tape, "mul", rotary_, {tokens, kRotated / 2}, ElementType::Float32);
    return ghost::cat(tape, transformer_, std::array<Tensor, 2>{angles, angles}, 1);
}

Tensor StableAudio3Network::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const Tensor context = text_in_.forward(tape, in.context);
    Tensor global = global_in_.forward(tape, in.more[0]);
    const Tensor waves = timestep_embedding(tape, root_, in.timesteps, kTimestepWidth);
    const Tensor time = time_in_.forward(tape, ghost::to_type(tape, root_, waves, in.x.type()));
    global = ghost::binary(tape, "add", root_, global, time);
    const Tensor filtered = [&] {
        const Tensor first = preprocess_.forward(tape, in.x);
        return ghost::binary(tape, "add", root_, first, in.x);
    }();
    const Tensor local = in.more[1].view({s[0], s[2], config_.local_add_cond_dim});

    Tensor x = project_in_.forward_batched(tape, filtered.view({s[0], s[2], s[1]}));
    const Tensor learned = ghost::create(
        tape, "_to_copy", memory_, {s[0], config_.num_memory_tokens, config_.embed_dim}, x.type());
    x = ghost::cat(tape, memory_, std::array<Tensor, 2>{learned, x}, 1);
    const Tensor angles = make_angles(tape, x.shape()[1]);
    const Tensor modulation = [&] {
        const Tensor active = [&] {
            const Tensor first = shared_in_.forward(tape, global);
            return ghost::unary(tape, "silu", transformer_, first);
        }();
        return shared_out_.forward(tape, active);
    }();
    for (const StableAudio3Block& block : blocks_)
        x = block.forward(tape, x, context, modulation, local, angles);
    x = x.view(x.shape().with(1, s[2]));
    const Tensor own = project_out_.forward(tape, x).view(s);
    const Tensor last = postprocess_.forward_strided(tape, own);
    return ghost::binary(tape, "add", root_, last, own);
}

Result<std::shared_ptr<const Denoiser>> build_stable_audio_3(const StableAudio3Config& c) {
    const bool sound =
        within(c.io_channels, 1, kWidthMax) && within(c.embed_dim, 1, kWidthMax) &&
        within(c.cond_token_dim, 1, kWidthMax) && within(c.global_cond_dim, 1, kWidthMax) &&
        within(c.local_add_cond_dim, 1, kWidthMax) && within(c.num_memory_tokens, 1, kWidthMax) &&
        within(c.depth, 1, kDepthMax) && within(c.num_heads, 1, c.embed_dim) &&
        c.embed_dim % c.num_heads == 0 && c.embed_dim / c.num_heads > kRotated;
    if (!sound)
        return fail(Errc::InvalidInput,
                    fmt::format("Stable Audio 3 with {} blocks, {} heads of {} in all cannot be",
                                c.depth, c.num_heads, c.embed_dim));
    return std::make_shared<const StableAudio3Network>(c);
}

}  // namespace plimsoll::memory
