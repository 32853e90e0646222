// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_block.h"

#include <utility>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kModulations = 6;  // shift, scale and gate of attention and feed-forward

Tensor normed(Tape& tape, const LayerNorm& norm, const WanTokens& x) {
    return x.transposed ? norm.forward_strided(tape, x.values) : norm.forward(tape, x.values);
}

Tensor head_view(const Tensor& x, std::int64_t heads) {
    const Shape& s = x.shape();
    return x.view({s[0], s[1], heads, s[2] / heads});
}

// Rotated pairs of channels, in the table's type.
Tensor rotate_tokens(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &table}, x.shape(), x.type());
    const Shape& s = x.shape();
    const Shape pairs{s[0], s[1], s[2], s[3] / 2, 2};
    const Tensor wide = ghost::to_type(tape, module, x, table.type());
    const Tensor column = table.view({1, s[1], 1, s[3] / 2, 2});
    const Tensor half = wide.view(pairs.with(4, 1));
    const Tensor sum = ghost::combine(tape, "mul", module, {&column, &half}, pairs, table.type());
    tape.charge(OpClass::Elementwise, "addcmul_", module, 0,
                2 * sum.bytes() + column.bytes() + half.bytes());
    return ghost::to_type(tape, module, sum.view(s), x.type());
}

}  // namespace

Tensor repeat_modulation(Tape& tape, Module module, const Tensor& modulation, std::int64_t tokens) {
    const Shape& s = modulation.shape();
    Tensor part = modulation.view({s[0], s[1], s[3]});
    if (s[1] == 1) return part;
    const std::int64_t repeats = (tokens + s[1] - 1) / s[1];
    return ghost::clone(tape, module, part, {s[0], s[1] * repeats, s[3]});
}

Tensor add_modulation(Tape& tape, Module module, const Tensor& timestep, std::int64_t sets) {
    const std::int64_t dim = timestep.shape().last();
    const Tape::Cast cast = tape.cast_weight({1, sets, dim}, module);
    const Shape& s = timestep.shape();
    Tensor sum = tape.make({s[0], s[1], sets, dim}, timestep.type(), "add", module);
    tape.charge(
        OpClass::Elementwise, "add", module, 0,
        timestep.bytes() + sets * dim * ghost::element_bytes(timestep.type()) + sum.bytes());
    return sum;
}

Tensor modulated_norm(Tape& tape, Module module, const LayerNorm& norm, const WanTokens& x,
                      const Tensor& modulation) {
    const std::int64_t tokens = x.values.shape()[1];
    const Tensor shift = repeat_modulation(tape, module, modulation, tokens);
    const Tensor normal = normed(tape, norm, x);
    const Tensor factor = [&] {
        const Tensor scale = repeat_modulation(tape, module, modulation, tokens);
        return ghost::unary(tape, "add", module, scale);
    }();
    return ghost::combine(tape, "addcmul", module, {&shift, &normal, &factor}, normal.shape(),
                          normal.type());
}

WanQkv::WanQkv(Registry& r, std::string_view path, const WanWidths& w)
    : q(r, r.path(path, "q"), w.dim, w.dim),
      k(r, r.path(path, "k"), w.dim, w.dim),
      v(r, r.path(path, "v"), w.dim, w.dim),
      o(r, r.path(path, "o"), w.dim, w.dim) {
    if (!w.qk_norm) return;
    norm_q.emplace(r, r.path(path, "norm_q"), w.dim);
    norm_k.emplace(r, r.path(path, "norm_k"), w.dim);
}

Tensor WanQkv::query(Tape& tape, const Tensor& x) const {
    const Tensor out = q.forward(tape, x);
    return norm_q ? norm_q->forward(tape, out) : out;
}

Tensor WanQkv::key(Tape& tape, const Tensor& x, bool sliced) const {
    const Tensor out = sliced ? k.forward_batched(tape, x) : k.forward(tape, x);
    return norm_k ? norm_k->forward(tape, out) : out;
}

WanSelfAttention::WanSelfAttention(Registry& r, std::string_view path, const WanWidths& w)
    : path_(r.path(path, "")), widths_(w), qkv_(r, path, w) {}

Tensor WanSelfAttention::forward(Tape& tape, const Tensor& x, const Tensor& rope) const {
    const auto rotated = [&](const Tensor& tokens) {
        return rotate_tokens(tape, path_, head_view(tokens, widths_.heads), rope);
    };
    const Tensor q = rotated(qkv_.query(tape, x));
    const Tensor k = rotated(qkv_.key(tape, x));
    const Shape& s = q.shape();
    const Tensor out = [&] {
        const Tensor v = qkv_.v.forward(tape, x);
        return ghost::attention(
            tape, path_, q, k, v,
            {.batch = s[0], .heads = s[2], .queries = s[1], .keys = s[1], .head_dim = s[3]});
    }();
    return qkv_.o.forward(tape, out.view(x.shape()));
}

WanCrossAttention::WanCrossAttention(Registry& r, std::string_view path, const WanWidths& w)
    : path_(r.path(path, "")), widths_(w), qkv_(r, path, w) {
    if (!w.image) return;
    Linear k(r, r.path(path, "k_img"), w.dim, w.dim);
    Linear v(r, r.path(path, "v_img"), w.dim, w.dim);
    image_.emplace(k, v);
    if (w.qk_norm) image_->norm_k.emplace(r, r.path(path, "norm_k_img"), w.dim);
}

Tensor WanCrossAttention::attend(Tape& tape, const Tensor& q, const Tensor& k,
                                 const Tensor& v) const {
    const Shape& s = q.shape();
    return ghost::attention(tape, path_, q, k, v,
                            {.batch = s[0],
                             .heads = widths_.heads,
                             .queries = s[1],
                             .keys = k.shape()[1],
                             .head_dim = s[2] / widths_.heads})
        .view(s);
}

Tensor WanCrossAttention::forward(Tape& tape, const Tensor& x, const WanConditions& given) const {
    const Shape& all = given.context.shape();
    const std::int64_t image_tokens = image_ ? given.image_tokens : 0;
    const Tensor text = given.context.view({all[0], all[1] - image_tokens, all[2]});
    // A slice over several latents is not contiguous.
    const bool sliced = image_tokens > 0 && all[0] > 1;
    const auto value = [&](const Linear& linear, const Tensor& tokens) {
        return sliced ? linear.forward_batched(tape, tokens) : linear.forward(tape, tokens);
    };
    const Tensor q = qkv_.query(tape, x);
    const Tensor k = qkv_.key(tape, text, sliced);
    const Tensor v = value(qkv_.v, text);
    if (image_tokens == 0) {
        const Tensor out = attend(tape, q, k, v);
        return qkv_.o.forward(tape, out);
    }
    const Tensor image = given.context.view({all[0], image_tokens, all[2]});
    const Tensor k_img = [&] {
        const Tensor out = value(image_->k, image);
        return image_->norm_k ? image_->norm_k->forward(tape, out) : out;
    }();
    const Tensor v_img = value(image_->v, image);
    const Tensor from_image = attend(tape, q, k_img, v_img);
    Tensor out = attend(tape, q, k, v);
    out = ghost::binary(tape, "add", path_, out, from_image);
    return qkv_.o.forward(tape, out);
}

WanBlock::WanBlock(Registry& r, std::string_view path, std::string_view class_name,
                   const WanWidths& w)
    : path_([&] {
          const Module own = r.path(path, "");
          r.add_own_parameters(own, class_name, kModulations * w.dim, ModuleStorage::AsNetwork);
          return own;
      }()),
      widths_(w),
      norm1_(r, r.path(path, "norm1"), w.dim, Affine::No),
      self_(r, *r.path(path, "self_attn"), w),
      norm3_(w.cross_attn_norm
                 ? std::optional<LayerNorm>(std::in_place, r, r.path(path, "norm3"), w.dim)
                 : std::nullopt),
      cross_(r, *r.path(path, "cross_attn"), w),
      norm2_(r, r.path(path, "norm2"), w.dim, Affine::No),
      ffn_in_(r, r.path(path, "ffn.0"), w.dim, w.ffn),
      ffn_(r.path(path, "ffn")),
      gelu_(r.path(path, "ffn.1")),
      ffn_out_(r, r.path(path, "ffn.2"), w.ffn, w.dim) {}

Tensor WanBlock::feed_forward(Tape& tape, const Tensor& x) const {
    Tensor in = ffn_in_.forward(tape, x);
    if (since_033(tape)) {  // one function, whose variables live on
        const Tensor hidden = ghost::unary(tape, "gelu", ffn_, in);
        return ffn_out_.forward(tape, hidden);
    }
    const Tensor hidden = ghost::unary(tape, "gelu", gelu_, in);
    in = {};
    return ffn_out_.forward(tape, hidden);
}

WanTokens WanBlock::forward(Tape& tape, const WanTokens& input, const WanConditions& given) const {
    const std::int64_t tokens = input.values.shape()[1];
    const Tensor modulation = add_modulation(tape, path_, given.timestep, kModulations);
    WanTokens x = input;
    if (x.transposed && since_033(tape))
        x = {ghost::clone(tape, path_, x.values, x.values.shape()), false};
    const auto add_gated = [&](const Tensor& update) {
        const Tensor gate = repeat_modulation(tape, path_, modulation, tokens);
        return ghost::combine(tape, "addcmul", path_, {&x.values, &update, &gate}, x.values.shape(),
                              x.values.type());
    };
    {
        const Tensor update = [&] {
            const Tensor in = modulated_norm(tape, path_, norm1_, x, modulation);
            return self_.forward(tape, in, given.rope);
        }();
        x.values = add_gated(update);
    }
    {
        const Tensor update = [&] {
            const Tensor in = norm3_ ? normed(tape, *norm3_, x) : x.values;
            return cross_.forward(tape, in, given);
        }();
        x.values = ghost::binary(tape, "add", path_, x.values, update);
    }
    const Tensor update = [&] {
        const Tensor in = modulated_norm(tape, path_, norm2_, x, modulation);
        return feed_forward(tape, in);
    }();
    x.values = add_gated(update);
    return x;
}

}  // namespace plimsoll::memory
