// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/ideogram4.h"

#include "memory/networks/dit/dit_layers.h"
#include "memory/networks/dit/split_half_rope.h"
#include "memory/networks/limits.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;
using modelfile::Ideogram4Config;

namespace {

constexpr std::int64_t kSigmas = 10'000;  // of ComfyUI's shifted flow schedule
constexpr std::int64_t kRoles = 2;        // a token is of the image or not
constexpr int kModulations = 4;           // scale and gate around attention and feed-forward
constexpr std::int64_t kAxes = 3;         // of positions
constexpr std::int64_t kPatch = 2;        // channels of the latent are those of 2 x 2 cells

void write(Tape& tape, Module module, const Tensor& into, const Tensor& from) {
    ghost::binary_in_place(tape, "copy_", module, into, from);
}

}  // namespace

Ideogram4Block::Ideogram4Block(Registry& r, std::string_view path, const Ideogram4Config& c)
    : path_(r.path(path, "")),
      heads_(c.num_attention_heads),
      head_dim_(c.attention_head_dim),
      attention_(r.path(path, "attention")),
      qkv_(r, r.path(path, "attention.qkv"), heads_ * head_dim_, 3 * heads_ * head_dim_, Bias::No),
      norm_q_(r, r.path(path, "attention.norm_q"), head_dim_),
      norm_k_(r, r.path(path, "attention.norm_k"), head_dim_),
      out_(r, r.path(path, "attention.o"), heads_ * head_dim_, heads_ * head_dim_, Bias::No),
      feed_forward_(r.path(path, "feed_forward")),
      w1_(r, r.path(path, "feed_forward.w1"), heads_ * head_dim_, c.intermediate_size, Bias::No),
      w2_(r, r.path(path, "feed_forward.w2"), c.intermediate_size, heads_ * head_dim_, Bias::No),
      w3_(r, r.path(path, "feed_forward.w3"), heads_ * head_dim_, c.intermediate_size, Bias::No),
      attention_norm1_(r, r.path(path, "attention_norm1"), heads_ * head_dim_),
      ffn_norm1_(r, r.path(path, "ffn_norm1"), heads_ * head_dim_),
      attention_norm2_(r, r.path(path, "attention_norm2"), heads_ * head_dim_),
      ffn_norm2_(r, r.path(path, "ffn_norm2"), heads_ * head_dim_),
      modulation_(r, r.path(path, "adaln_modulation"), c.adaln_dim,
                  kModulations * heads_ * head_dim_) {}

Tensor Ideogram4Block::attend(Tape& tape, const Tensor& x, const Tensor& table) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    // Query and key are views of the same tensor.
    const Tensor v = qkv_.forward(tape, x).view({batch, tokens, heads_, head_dim_});
    const Tensor q = normalise_and_rotate(tape, attention_, v, table);
    const Tensor k = normalise_and_rotate(tape, attention_, v, table);
    const Tensor attended = ghost::attention(tape, attention_, q, k, v,
                                             {.batch = batch,
                                              .heads = heads_,
                                              .queries = tokens,
                                              .keys = tokens,
                                              .head_dim = head_dim_});
    return out_.forward(tape, attended.view(x.shape()));
}

Tensor Ideogram4Block::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor gated = [&] {
        const Tensor first = w1_.forward(tape, x);
        const Tensor third = w3_.forward(tape, x);
        const Tensor product = [&] {
            const Tensor active = ghost::unary(tape, "silu", feed_forward_, first);
            return ghost::binary(tape, "mul", feed_forward_, active, third);
        }();
        return without_infinities(tape, feed_forward_, product);
    }();
    return w2_.forward(tape, gated);
}

// Gates, scales and attention's output are variables of the whole function.
Tensor Ideogram4Block::forward(Tape& tape, const Tensor& x, const Tensor& table,
                               const Tensor& time) const {
    const Tensor modulation = modulation_.forward(tape, time);
    const Tensor part = modulation.view({x.shape()[0], 1, heads_ * head_dim_});
    const Tensor attention_gate = ghost::unary(tape, "tanh", path_, part);
    const Tensor mlp_gate = ghost::unary(tape, "tanh", path_, part);
    const Tensor attention_scale = ghost::unary(tape, "add", path_, part);
    const Tensor mlp_scale = ghost::unary(tape, "add", path_, part);
    const auto prepare = [&](const RmsNorm& norm, const Tensor& y, const Tensor& scale) {
        const Tensor normal = norm.forward(tape, y);
        return ghost::binary(tape, "mul", path_, normal, scale);
    };
    const auto add_gated = [&](const Tensor& base, const RmsNorm& norm, const Tensor& update,
                               const Tensor& gate) {
        const Tensor gated = [&] {
            const Tensor normal = norm.forward(tape, update);
            return ghost::binary(tape, "mul", path_, normal, gate);
        }();
        return ghost::binary(tape, "add", path_, base, gated);
    };
    const Tensor attended = [&] {
        const Tensor in = prepare(attention_norm1_, x, attention_scale);
        return attend(tape, in, table);
    }();
    const Tensor middle = add_gated(x, attention_norm2_, attended, attention_gate);
    const Tensor gated = [&] {
        const Tensor normal = [&] {
            const Tensor fed = [&] {
                const Tensor in = prepare(ffn_norm1_, middle, mlp_scale);
                return feed_forward(tape, in);
            }();
            return ffn_norm2_.forward(tape, fed);
        }();
        return ghost::binary(tape, "mul", path_, normal, mlp_gate);
    }();
    return ghost::binary(tape, "add", path_, middle, gated);
}

Ideogram4Network::Ideogram4Network(const Ideogram4Config& c)
    : config_(c),
      width_(std::int64_t{c.num_attention_heads} * c.attention_head_dim),
      root_(registry_.path("", "")),
      input_proj_(registry_, registry_.path("input_proj", ""), c.in_channels, width_),
      llm_norm_(registry_, registry_.path("llm_cond_norm", ""), c.llm_features_dim),
      llm_proj_(registry_, registry_.path("llm_cond_proj", ""), c.llm_features_dim, width_),
      time_(registry_.path("t_embedding", "")),
      time_in_(registry_, registry_.path("t_embedding", "mlp_in"), width_, width_),
      time_out_(registry_, registry_.path("t_embedding", "mlp_out"), width_, width_),
      adaln_proj_(registry_, registry_.path("adaln_proj", ""), width_, c.adaln_dim),
      image_indicator_([&] {
          const Module path = registry_.path("embed_image_indicator", "");
          registry_.add(path, "Embedding", kRoles * width_);
          return path;
      }()),
      layers_([&] {
          std::vector<Ideogram4Block> layers;
          layers.reserve(static_cast<std::size_t>(c.num_layers));
          for (int i = 0; i < c.num_layers; ++i)
              layers.emplace_back(registry_, fmt::format("layers.{}", i), c);
          return layers;
      }()),
      final_(registry_.path("final_layer", "")),
      final_norm_(registry_, registry_.path("final_layer", "norm_final"), width_, Affine::No),
      final_linear_(registry_, registry_.path("final_layer", "linear"), width_, c.in_channels),
      final_modulation_(registry_, registry_.path("final_layer", "adaln_modulation"), c.adaln_dim,
                        width_) {}

StepInputs Ideogram4Network::make_inputs(Tape& tape, const InputWish& wish) const {
    const StepCall& call = wish.call;
    StepInputs in;
    in.x = tape.input({wish.batch, config_.in_channels, call.latent_height, call.latent_width},
                      wish.type);
    in.timesteps = tape.input({wish.batch}, ElementType::Float32);
    in.context = tape.input({wish.cond_batch, call.tokens, config_.llm_features_dim}, wish.type);
    return in;
}

std::vector<ModuleEntry> Ideogram4Network::model_buffers() const {
    return {sigma_table(kSigmas)};
}

Ideogram4Network::Sequence Ideogram4Network::pack(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const std::int64_t cells = s[2] * s[3];
    const std::int64_t text = in.context.shape()[1];
    const auto count = [&](std::int64_t length) {
        return ghost::create(tape, "arange", root_, {length}, ElementType::Int64);
    };
    Sequence q;
    q.image = ghost::clone(tape, root_, in.x,
                           {s[0], s[2], s[3], kPatch, kPatch, s[1] / (kPatch * kPatch)})
                  .view({s[0], cells, s[1]});
    q.tokens = ghost::create(tape, "zeros", root_, {s[0], text + cells, s[1]}, in.x.type());
    write(tape, root_, q.tokens.view(q.image.shape()), q.image);
    q.text_ids = count(text);
    q.image_ids = [&] {
        const auto spread = [&](std::int64_t length) {
            const Tensor steps = count(length);
            return ghost::clone(tape, root_, steps, {cells});
        };
        const Tensor rows = spread(s[2]);
        const Tensor columns = spread(s[3]);
        const Tensor frames = ghost::create_like(tape, "zeros_like", root_, rows);
        const Tensor stacked = ghost::combine(tape, "stack", root_, {&frames, &rows, &columns},
                                              {cells, kAxes}, ElementType::Int64);
        return ghost::unary(tape, "add", root_, stacked);
    }();
    q.ids = ghost::cat(tape, root_,
                       std::array<Tensor, 2>{q.text_ids.view({text, kAxes}), q.image_ids}, 0);
    q.roles = tape.make({s[0], text + cells}, ElementType::Int64, "empty", root_);
    for (const std::int64_t part : {text, cells})
        ghost::unary_in_place(tape, "fill_", root_, q.roles.view({s[0], part}));
    return q;
}

Tensor Ideogram4Network::embed_time(Tape& tape, const Tensor& timesteps, ElementType type) const {
    Tensor waves = [&] {
        Tensor scaled = timesteps;
        for (const std::string_view op : {"sub", "mul", "div"})
            scaled = ghost::unary(tape, op, time_, scaled);
        Tensor frequencies =
            ghost::create(tape, "arange", time_, {width_ / 2}, ElementType::Float32);
        for (const std::string_view op : {"mul", "exp"})
            frequencies = ghost::unary(tape, op, time_, frequencies);
        const Tensor angles =
            ghost::combine(tape, "mul", time_, {&scaled, &frequencies},
                           {timesteps.elements(), width_ / 2}, ElementType::Float32);
        const std::array<Tensor, 2> both = {ghost::unary(tape, "sin", time_, angles),
                                            ghost::unary(tape, "cos", time_, angles)};
        return ghost::cat(tape, time_, both, 1);
    }();
    waves = ghost::to_type(tape, time_, waves, type);
    const Tensor hidden = [&] {
        const Tensor first = time_in_.forward(tape, waves);
        return ghost::unary(tape, "silu", time_, first);
    }();
    return time_out_.forward(tape, hidden);
}

// The language model's table, whose axes take turns along the head, as rotations.
Tensor Ideogram4Network::position_table(Tape& tape, std::int64_t tokens) const {
    const std::int64_t pairs = config_.attention_head_dim / 2;
    const ElementType f32 = ElementType::Float32;
    Tensor frequencies = ghost::create(tape, "arange", root_, {pairs}, f32);
    for (const std::string_view op : {"div", "pow", "reciprocal"})
        frequencies = ghost::unary(tape, op, root_, frequencies);
    const Tensor turning = [&] {
        const Tensor positions = ghost::create(tape, "_to_copy", root_, {kAxes, 1, tokens}, f32);
        Tensor angles = tape.make({kAxes, pairs, tokens}, f32, "bmm", root_);
        tape.charge(OpClass::MatMul, "bmm", root_,
                    ghost::saturating_product({2, kAxes, pairs, tokens}),
                    positions.bytes() + frequencies.bytes() + angles.bytes());
        return angles;
    }();
    const Tensor own = turning.view({tokens, pairs});
    for (std::int64_t axis = 1; axis < kAxes; ++axis)
        write(tape, root_, own.view({tokens, pairs / kAxes}), own.view({tokens, pairs / kAxes}));
    const Tensor doubled = ghost::cat(tape, root_, std::array<Tensor, 2>{own, own}, 1);
    const Tensor cos = ghost::unary(tape, "cos", root_, doubled);
    const Tensor sin = ghost::unary(tape, "sin", root_, doubled);
    const Tensor minus_sin = ghost::unary(tape, "neg", root_, sin.view({tokens, pairs}));
    return ghost::combine(tape, "stack", root_, {&cos, &minus_sin, &sin}, {tokens, pairs, 2, 2},
                          f32);
}

// [N, tokens, 1]: 1 where a token has the role.
Tensor Ideogram4Network::role_mask(Tape& tape, const Tensor& roles, std::int64_t tokens,
                                   ElementType type) const {
    const Shape shape{roles.shape()[0], tokens};
    const Tensor same = ghost::produce(tape, OpClass::Elementwise, "eq", root_, roles.view(shape),
                                       shape, ElementType::Bool);
    return ghost::to_type(tape, root_, same, type).view({shape[0], tokens, 1});
}

Tensor Ideogram4Network::run(Tape& tape, const Sequence& sequence, const Tensor& context,
                             const Tensor& timesteps) const {
    const std::int64_t batch = context.shape()[0];
    const std::int64_t text = context.shape()[1];
    const std::int64_t tokens = sequence.tokens.shape()[1];
    const ElementType type = context.type();
    const Tensor image_mask = role_mask(tape, sequence.roles, tokens, type);
    const Tensor x = ghost::binary(tape, "mul", root_, sequence.tokens, image_mask);
    Tensor h = [&] {
        const Tensor projected = input_proj_.forward(tape, x);
        return ghost::binary(tape, "mul", root_, projected, image_mask);
    }();
    const Tensor time = embed_time(tape, timesteps, type).view({batch, 1, width_});
    const Tensor modulation = [&] {
        const Tensor narrow = adaln_proj_.forward(tape, time);
        return ghost::unary(tape, "silu", root_, narrow);
    }();
    const Tensor text_mask = role_mask(tape, sequence.roles, text, type);
    Tensor llm = [&] {
        const Tensor masked = ghost::binary(tape, "mul", root_, context, text_mask);
        return llm_norm_.forward(tape, masked);
    }();
    llm = [&] {
        const Tensor projected = llm_proj_.forward(tape, llm);
        return ghost::binary(tape, "mul", root_, projected, text_mask);
    }();
    {
        const Tensor sum = ghost::binary(tape, "add", root_, h.view(llm.shape()), llm);
        write(tape, root_, h.view(llm.shape()), sum);
    }
    h = [&] {
        const Tensor marks = [&] {
            const Tensor index = role_mask(tape, sequence.roles, tokens, ElementType::Int64);
            tape.charge(OpClass::Copy, "embedding", image_indicator_, 0,
                        kRoles * width_ * ghost::element_bytes(type), 0);  // the whole table
            return ghost::produce(tape, OpClass::Copy, "embedding", image_indicator_, index,
                                  h.shape(), type);
        }();
        return ghost::binary(tape, "add", root_, h, marks);
    }();
    const Tensor table = position_table(tape, tokens);
    for (const Ideogram4Block& layer : layers_) h = layer.forward(tape, h, table, modulation);
    return forward_final(tape, h, modulation);
}

Tensor Ideogram4Network::forward_final(Tape& tape, const Tensor& x, const Tensor& time) const {
    const Tensor scale = [&] {
        const Tensor active = ghost::unary(tape, "silu", final_, time);
        const Tensor raw = final_modulation_.forward(tape, active);
        return ghost::unary(tape, "add", final_, raw);
    }();
    const Tensor in = [&] {
        const Tensor normal = final_norm_.forward(tape, x);
        return ghost::binary(tape, "mul", final_, normal, scale);
    }();
    return final_linear_.forward(tape, in);
}

Tensor Ideogram4Network::forward(Tape& tape, const StepInputs& in) const {
    const Shape& s = in.x.shape();
    const Tensor timesteps = ghost::unary(tape, "rsub", root_, in.timesteps);
    const Tensor image = [&] {
        const Sequence sequence = pack(tape, in);
        const Tensor out = run(tape, sequence, in.context, timesteps);
        const Tensor own = out.view({s[0], s[2] * s[3], s[1]});
        return ghost::clone(tape, root_, own,
                            {s[0], s[1] / (kPatch * kPatch), kPatch, kPatch, s[2], s[3]});
    }();
    return ghost::unary(tape, "neg", root_, image.view(s));
}

Result<std::shared_ptr<const Denoiser>> build_ideogram4(const Ideogram4Config& c) {
    const bool sound =
        within(c.in_channels, 1, kWidthMax) && c.in_channels % (kPatch * kPatch) == 0 &&
        within(c.num_layers, 0, kDepthMax) && within(c.attention_head_dim, 2, kWidthMax) &&
        c.attention_head_dim % 2 == 0 &&
        within(c.num_attention_heads, 1, kWidthMax / c.attention_head_dim) &&
        within(c.intermediate_size, 1, kWidthMax) && within(c.adaln_dim, 1, kWidthMax) &&
        within(c.llm_features_dim, 1, 4 * kWidthMax);
    if (!sound)
        return fail(
            Errc::InvalidInput,
            fmt::format("Ideogram 4 with {} layers, {} heads of {} and {} channels cannot "
                        "be",
                        c.num_layers, c.num_attention_heads, c.attention_head_dim, c.in_channels));
    return std::make_shared<const Ideogram4Network>(c);
}

}  // namespace plimsoll::memory
