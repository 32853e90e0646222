// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/ace_step15_layers.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kPositionsMax = 32768;  // rows of a rotary table
constexpr int kModulations = 6;

}  // namespace

void add_ace_rotary_table(Registry& r, std::string_view path, std::int64_t head_dim) {
    const Module own = r.path(path, "rotary_emb");
    r.add_buffer(own, "RotaryEmbedding", head_dim / 2, ModuleStorage::Float32, Saved::No);
    r.add_buffer(own, "RotaryEmbedding", 2 * kPositionsMax * head_dim, ModuleStorage::AsNetwork,
                 Saved::No);
}

AceAttention::AceAttention(Registry& r, std::string_view path, const AceWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      q_(r, r.path(path, "q_proj"), w.hidden, w.heads * w.head_dim, Bias::No),
      k_(r, r.path(path, "k_proj"), w.hidden, w.kv_heads * w.head_dim, Bias::No),
      v_(r, r.path(path, "v_proj"), w.hidden, w.kv_heads * w.head_dim, Bias::No),
      out_(r, r.path(path, "o_proj"), w.heads * w.head_dim, w.hidden, Bias::No),
      q_norm_(r, r.path(path, "q_norm"), w.head_dim),
      k_norm_(r, r.path(path, "k_norm"), w.head_dim) {}

// x * cos + (halves swapped, one negated) * sin; the tables are views.
Tensor AceAttention::rotate(Tape& tape, const Tensor& x) const {
    const Tensor straight = ghost::unary(tape, "mul", path_, x);
    const Tensor crossed = [&] {
        const Tensor turned = [&] {
            const Tensor part = x.view(x.shape().with_last(widths_.head_dim / 2));
            const std::array<Tensor, 2> halves = {ghost::unary(tape, "neg", path_, part), part};
            return ghost::cat(tape, path_, halves, 3);
        }();
        return ghost::unary(tape, "mul", path_, turned);
    }();
    return ghost::binary(tape, "add", path_, straight, crossed);
}

Tensor AceAttention::expand_heads(Tape& tape, const Tensor& x) const {
    if (widths_.heads == widths_.kv_heads) return x;
    return ghost::clone(tape, path_, x, x.shape().with(1, widths_.heads));
}

// Zero near the diagonal; its parts live as long as the attention.
AceAttention::Mask AceAttention::make_mask(Tape& tape, std::int64_t tokens) const {
    Mask mask;
    mask.indices = ghost::create(tape, "arange", path_, {tokens}, ElementType::Int64);
    const Shape square{tokens, tokens};
    mask.distances = ghost::combine(tape, "sub", path_, {&mask.indices, &mask.indices}, square,
                                    ElementType::Int64);
    {
        const Tensor absolute = ghost::unary(tape, "abs", path_, mask.distances);
        mask.near = ghost::produce(tape, OpClass::Elementwise, "le", path_, absolute, square,
                                   ElementType::Bool);
    }
    mask.bias = ghost::create(tape, "zeros", path_, square, tape.compute());
    const Tensor far = ghost::unary(tape, "bitwise_not", path_, mask.near);
    ghost::binary_in_place(tape, "masked_fill_", path_, mask.bias, far);
    return mask;
}

Tensor AceAttention::forward(Tape& tape, const Tensor& x, const AceAttentionCall& call) const {
    const bool crossed = call.context.defined();
    const Tensor& source = crossed ? call.context : x;
    const std::int64_t batch = x.shape()[0];
    const std::int64_t queries = x.shape()[1];
    const std::int64_t keys = source.shape()[1];
    const Shape kv_shape{batch, widths_.kv_heads, keys, widths_.head_dim};
    Tensor q = q_.forward(tape, x).view({batch, widths_.heads, queries, widths_.head_dim});
    q = q_norm_.forward(tape, q);
    Tensor k = k_.forward(tape, source).view(kv_shape);
    Tensor v = v_.forward(tape, source).view(kv_shape);
    k = k_norm_.forward(tape, k);
    if (!crossed) {
        Tensor rotated_q = rotate(tape, q);
        Tensor rotated_k = rotate(tape, k);
        q = std::move(rotated_q);
        k = std::move(rotated_k);
    }
    k = expand_heads(tape, k);
    v = expand_heads(tape, v);
    const Mask mask = !crossed && call.window > 0 ? make_mask(tape, queries) : Mask{};
    const Tensor out = ghost::attention(tape, path_, q, k, v,
                                        {.batch = batch,
                                         .heads = widths_.heads,
                                         .queries = queries,
                                         .keys = keys,
                                         .head_dim = widths_.head_dim},
                                        mask.bias);
    return out_.forward(tape, out.view({batch, queries, widths_.heads * widths_.head_dim}));
}

AceFeedForward::AceFeedForward(Registry& r, std::string_view path, const AceWidths& w)
    : path_(r.path(path, "")),
      gate_(r, r.path(path, "gate_proj"), w.hidden, w.mlp, Bias::No),
      up_(r, r.path(path, "up_proj"), w.hidden, w.mlp, Bias::No),
      down_(r, r.path(path, "down_proj"), w.mlp, w.hidden, Bias::No),
      act_(r.path(path, "act_fn")) {}

Tensor AceFeedForward::forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor active = [&] {
            const Tensor gate = gate_.forward(tape, x);
            return ghost::unary(tape, "silu", act_, gate);
        }();
        const Tensor up = up_.forward(tape, x);
        return ghost::binary(tape, "mul", path_, active, up);
    }();
    return down_.forward(tape, hidden);
}

AceEncoderLayer::AceEncoderLayer(Registry& r, std::string_view path, const AceWidths& w)
    : path_(r.path(path, "")),
      attention_(r, *r.path(path, "self_attn"), w),
      norm1_(r, r.path(path, "input_layernorm"), w.hidden),
      norm2_(r, r.path(path, "post_attention_layernorm"), w.hidden),
      mlp_(r, *r.path(path, "mlp"), w) {}

Tensor AceEncoderLayer::forward(Tape& tape, const Tensor& x) const {
    Tensor residual = x;
    for (const bool attends : {true, false}) {
        Tensor h = (attends ? norm1_ : norm2_).forward(tape, residual);
        h = attends ? attention_.forward(tape, h, {}) : mlp_.forward(tape, h);
        residual = ghost::binary(tape, "add", path_, residual, h);
    }
    return residual;
}

std::vector<AceEncoderLayer> make_ace_encoder_layers(Registry& r, std::string_view path, int count,
                                                     const AceWidths& w) {
    std::vector<AceEncoderLayer> layers;
    layers.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i) layers.emplace_back(r, fmt::format("{}.layers.{}", path, i), w);
    return layers;
}

AceDecoderLayer::AceDecoderLayer(Registry& r, std::string_view path, const AceWidths& w,
                                 std::int64_t window)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, "AceStepDiTLayer", kModulations * w.hidden,
                               ModuleStorage::AsNetwork);
          return own;
      }()),
      hidden_(w.hidden),
      window_(window),
      self_norm_(r, r.path(path, "self_attn_norm"), w.hidden),
      self_(r, *r.path(path, "self_attn"), w),
      cross_norm_(r, r.path(path, "cross_attn_norm"), w.hidden),
      cross_(r, *r.path(path, "cross_attn"), w),
      mlp_norm_(r, r.path(path, "mlp_norm"), w.hidden),
      mlp_(r, *r.path(path, "mlp"), w) {}

// normal * (1 + scale) + shift.
Tensor AceDecoderLayer::modulated(Tape& tape, const Tensor& normal, const Tensor& part) const {
    const Tensor product = [&] {
        const Tensor factor = ghost::unary(tape, "add", path_, part);
        return ghost::binary(tape, "mul", path_, normal, factor);
    }();
    return ghost::binary(tape, "add", path_, product, part);
}

// The caller keeps `x`; each variable lives until it is assigned anew.
Tensor AceDecoderLayer::forward(Tape& tape, const Tensor& x, const Tensor& timestep,
                                const Tensor& context) const {
    const Tensor modulation = ghost::unary(tape, "add", path_, timestep);
    const Tensor part = modulation.view({x.shape()[0], 1, hidden_});
    const auto add_gated = [&](const Tensor& h, const Tensor& update) {
        const Tensor gated = ghost::binary(tape, "mul", path_, update, part);
        return ghost::binary(tape, "add", path_, h, gated);
    };
    Tensor normal = self_norm_.forward(tape, x);
    normal = modulated(tape, normal, part);
    Tensor attended = self_.forward(tape, normal, {.context = {}, .window = window_});
    Tensor h = add_gated(x, attended);
    normal = cross_norm_.forward(tape, h);
    attended = cross_.forward(tape, normal, {.context = context});
    h = ghost::binary(tape, "add", path_, h, attended);
    normal = mlp_norm_.forward(tape, h);
    normal = modulated(tape, normal, part);
    const Tensor update = mlp_.forward(tape, normal);
    return add_gated(h, update);
}

}  // namespace plimsoll::memory
