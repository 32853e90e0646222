// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/lumina2_block.h"

#include <algorithm>

namespace plimsoll::memory {

using modelfile::Lumina2Config;

namespace {

constexpr std::int64_t kTimeWidthMax = 1024;
constexpr std::int64_t kZImageTimeWidth = 256;
constexpr int kModulations = 4;  // scale and gate around attention and feed-forward

std::int64_t feed_forward_width(const Lumina2Config& c) {
    const auto width = static_cast<std::int64_t>(c.ffn_dim_multiplier * c.dim);
    return (width + c.multiple_of - 1) / c.multiple_of * c.multiple_of;
}

// What fp16 cannot hold is clipped since 0.33.0.
Tensor clipped(Tape& tape, Module module, const Tensor& x) {
    return since_033(tape) ? without_infinities(tape, module, x) : x;
}

}  // namespace

std::int64_t lumina_time_hidden(const Lumina2Config& c) {
    return std::min<std::int64_t>(c.dim, kTimeWidthMax);
}

std::int64_t lumina_time_width(const Lumina2Config& c) {
    return c.z_image_modulation ? std::min<std::int64_t>(c.dim, kZImageTimeWidth)
                                : lumina_time_hidden(c);
}

LuminaAttention::LuminaAttention(Registry& r, std::string_view path, const Lumina2Config& c)
    : path_(r.path(path, "")),
      heads_(c.n_heads),
      kv_heads_(c.n_kv_heads),
      head_dim_(c.dim / c.n_heads),
      qkv_(r, r.path(path, "qkv"), c.dim, (heads_ + 2 * kv_heads_) * head_dim_, Bias::No),
      out_(r, r.path(path, "out"), heads_ * head_dim_, c.dim, Bias::No) {
    if (c.qk_norm) {
        q_norm_.emplace(r, r.path(path, "q_norm"), head_dim_);
        k_norm_.emplace(r, r.path(path, "k_norm"), head_dim_);
    }
}

Tensor LuminaAttention::forward(Tape& tape, const Tensor& x, const Tensor& table,
                                const Tensor& mask) const {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    const Shape kv_shape{batch, tokens, kv_heads_, head_dim_};
    // All three are views of one tensor, which lives as long as one of them.
    Tensor v = qkv_.forward(tape, x).view(kv_shape);
    Tensor q = v.view({batch, tokens, heads_, head_dim_});
    Tensor k = v;
    if (q_norm_) {
        q = q_norm_->forward(tape, q);
        k = k_norm_->forward(tape, k);
    }
    if (since_033(tape)) {
        Tensor turned_q = apply_rope(tape, path_, q, table);
        k = apply_rope(tape, path_, k, table);
        q = std::move(turned_q);
    } else {
        q = apply_rope(tape, path_, q, table);
        k = apply_rope(tape, path_, k, table);
    }
    // Also where there are as many of them as queries.
    const auto repeated = [&](const Tensor& narrow) {
        return ghost::produce(tape, OpClass::Copy, "repeat", path_, narrow,
                              {batch, tokens, kv_heads_, heads_ / kv_heads_, head_dim_},
                              narrow.type());
    };
    k = repeated(k);
    v = repeated(v);
    const Tensor attended = ghost::attention(
        tape, path_, q, k, v,
        {.batch = batch, .heads = heads_, .queries = tokens, .keys = tokens, .head_dim = head_dim_},
        mask);
    return out_.forward(tape, attended.view({batch, tokens, heads_ * head_dim_}));
}

LuminaBlock::LuminaBlock(Registry& r, std::string_view path, const Lumina2Config& c,
                         Modulated modulated)
    : path_(r.path(path, "")),
      dim_(c.dim),
      attention_(r, *r.path(path, "attention"), c),
      feed_forward_(r.path(path, "feed_forward")),
      w1_(r, r.path(path, "feed_forward.w1"), c.dim, feed_forward_width(c), Bias::No),
      w2_(r, r.path(path, "feed_forward.w2"), feed_forward_width(c), c.dim, Bias::No),
      w3_(r, r.path(path, "feed_forward.w3"), c.dim, feed_forward_width(c), Bias::No),
      attention_norm1_(r, r.path(path, "attention_norm1"), c.dim),
      ffn_norm1_(r, r.path(path, "ffn_norm1"), c.dim),
      attention_norm2_(r, r.path(path, "attention_norm2"), c.dim),
      ffn_norm2_(r, r.path(path, "ffn_norm2"), c.dim),
      modulation_act_(c.z_image_modulation ? nullptr : r.path(path, "adaLN_modulation.0")) {
    if (modulated == Modulated::Yes)
        modulation_.emplace(
            r, r.path(path, c.z_image_modulation ? "adaLN_modulation.0" : "adaLN_modulation.1"),
            lumina_time_width(c), std::int64_t{kModulations} * c.dim);
}

Tensor LuminaBlock::feed_forward(Tape& tape, const Tensor& x) const {
    const Tensor gated = [&] {
        const Tensor first = w1_.forward(tape, x);
        const Tensor third = w3_.forward(tape, x);
        const Tensor product = [&] {
            const Tensor active = ghost::unary(tape, "silu", feed_forward_, first);
            return ghost::binary(tape, "mul", feed_forward_, active, third);
        }();
        return clipped(tape, feed_forward_, product);
    }();
    return w2_.forward(tape, gated);
}

Tensor LuminaBlock::forward(Tape& tape, const Tensor& x, const Tensor& table, const Tensor& mask,
                            const Tensor& time) const {
    if (modulation_) return forward_modulated(tape, x, table, mask, time);
    const auto add_normal = [&](const RmsNorm& norm, const Tensor& base, auto update) {
        const Tensor normal = [&] {
            const Tensor raw = update();
            return norm.forward(tape, raw);
        }();
        return ghost::binary(tape, "add", path_, base, normal);
    };
    const Tensor middle = add_normal(attention_norm2_, x, [&] {
        const Tensor normal = attention_norm1_.forward(tape, x);
        return clipped(tape, path_, attention_.forward(tape, normal, table, mask));
    });
    return add_normal(ffn_norm2_, middle, [&] {
        const Tensor normal = ffn_norm1_.forward(tape, middle);
        return feed_forward(tape, normal);
    });
}

Tensor LuminaBlock::forward_modulated(Tape& tape, const Tensor& x, const Tensor& table,
                                      const Tensor& mask, const Tensor& time) const {
    const Tensor modulation = [&] {
        if (modulation_act_ == nullptr) return modulation_->forward(tape, time);
        const Tensor active = ghost::unary(tape, "silu", modulation_act_, time);
        return modulation_->forward(tape, active);
    }();
    const Tensor part = modulation.view({x.shape()[0], 1, dim_});
    const auto prepare = [&](const RmsNorm& norm, const Tensor& y) {
        const Tensor normal = norm.forward(tape, y);
        return scaled(tape, path_, normal, part);
    };
    const auto add_gated = [&](const RmsNorm& norm, const Tensor& base, auto update) {
        const Tensor gated = [&] {
            const Tensor gate = ghost::unary(tape, "tanh", path_, part);
            const Tensor normal = [&] {
                const Tensor finite = clipped(tape, path_, update());
                return norm.forward(tape, finite);
            }();
            return ghost::binary(tape, "mul", path_, normal, gate);
        }();
        return ghost::binary(tape, "add", path_, base, gated);
    };
    const Tensor middle = add_gated(attention_norm2_, x, [&] {
        const Tensor modulated = prepare(attention_norm1_, x);
        return attention_.forward(tape, modulated, table, mask);
    });
    return add_gated(ffn_norm2_, middle, [&] {
        const Tensor modulated = prepare(ffn_norm1_, middle);
        return feed_forward(tape, modulated);
    });
}

}  // namespace plimsoll::memory
