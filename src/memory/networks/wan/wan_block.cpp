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

WanQkv::WanQkv(Registry& r, std::string_view path, const WanWidths& w, std::int64_t source)
    : q(r, r.path(path, "q"), w.dim, w.dim),
      k(r, r.path(path, "k"), source > 0 ? source : w.dim, w.dim),
      v(r, r.path(path, "v"), source > 0 ? source : w.dim, w.dim),
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

WanSelfAttention::Projected WanSelfAttention::project(Tape& tape, Module module, const Tensor& x,
                                                      const Tensor& rope) const {
    const auto rotated = [&](const Tensor& tokens) {
        return rotate_tokens(tape, module, head_view(tokens, widths_.heads), rope);
    };
    Projected out;
    out.q = rotated(qkv_.query(tape, x));
    out.k = rotated(qkv_.key(tape, x));
    out.v = head_view(qkv_.v.forward(tape, x), widths_.heads);
    return out;
}

Tensor WanSelfAttention::attend(Tape& tape, Module module, const Projected& in) const {
    const Shape& s = in.q.shape();
    return ghost::attention(tape, module, in.q, in.k, in.v,
                            {.batch = s[0],
                             .heads = s[2],
                             .queries = s[1],
                             .keys = in.k.shape()[1],
                             .head_dim = s[3]})
        .view({s[0], s[1], s[2] * s[3]});
}

Tensor WanSelfAttention::project_out(Tape& tape, const Tensor& x) const {
    return qkv_.o.forward(tape, x);
}

Tensor WanSelfAttention::forward(Tape& tape, const Tensor& x, const Tensor& rope) const {
    Projected projected = project(tape, path_, x, rope);
    const Tensor out = attend(tape, path_, projected);
    projected.v = {};
    return project_out(tape, out);
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

WanAudioAttention::WanAudioAttention(Registry& r, std::string_view path, const WanWidths& w)
    : path_(r.path(path, "")),
      attention_path_(r.path(path, "audio_cross_attn")),
      widths_(w),
      qkv_(r, *attention_path_, w, w.audio),
      norm_(r, r.path(path, "norm1_audio"), w.dim) {}

Tensor WanAudioAttention::forward(Tape& tape, const Tensor& x, const Tensor& audio) const {
    const Tensor update = [&] {
        const Tensor in = norm_.forward(tape, x);
        const Tensor out = [&] {
            const Tensor q = qkv_.query(tape, in);
            const Tensor k = qkv_.key(tape, audio);
            const Tensor v = qkv_.v.forward(tape, audio);
            const std::int64_t frames = k.elements() / (kAudioTokensPerFrame * widths_.dim);
            return ghost::attention(tape, attention_path_, q, k, v,
                                    {.batch = frames,
                                     .heads = widths_.heads,
                                     .queries = q.elements() / (frames * widths_.dim),
                                     .keys = kAudioTokensPerFrame,
                                     .head_dim = widths_.dim / widths_.heads});
        }();
        return qkv_.o.forward(tape, out.view(x.shape()));
    }();
    return ghost::binary(tape, "add", path_, x, update);
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
      ffn_out_(r, r.path(path, "ffn.2"), w.ffn, w.dim),
      audio_(w.audio > 0 ? std::optional<WanAudioAttention>(
                               std::in_place, r, *r.path(path, "audio_cross_attn_wrapper"), w)
                         : std::nullopt) {}

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

Tensor WanBlock::modulation(Tape& tape, Module module, const WanConditions& given) const {
    return add_modulation(tape, module, given.timestep, kModulations);
}

Tensor WanBlock::attention_input(Tape& tape, Module module, const WanTokens& x,
                                 const Tensor& modulation) const {
    return modulated_norm(tape, module, norm1_, x, modulation);
}

Tensor WanBlock::add_gated(Tape& tape, Module module, const Tensor& x, const Tensor& update,
                           const Tensor& modulation) const {
    const Tensor gate = repeat_modulation(tape, module, modulation, x.shape()[1]);
    return ghost::combine(tape, "addcmul", module, {&x, &update, &gate}, x.shape(), x.type());
}

Tensor WanBlock::finish(Tape& tape, Module module, WanTokens x, const Tensor& modulation,
                        const WanConditions& given, Tensor kept) const {
    {
        const Tensor attended = [&] {
            const Tensor in = norm3_ ? normed(tape, *norm3_, x) : x.values;
            return cross_.forward(tape, in, given);
        }();
        x.values = ghost::binary(tape, "add", module, x.values, attended);
    }
    if (audio_) x.values = audio_->forward(tape, x.values, given.audio);
    kept = [&] {
        const Tensor in = modulated_norm(tape, module, norm2_, x, modulation);
        return feed_forward(tape, in);
    }();
    return add_gated(tape, module, x.values, kept, modulation);
}

WanTokens WanBlock::forward(Tape& tape, const WanTokens& input, const WanConditions& given) const {
    const Tensor sets = modulation(tape, path_, given);
    WanTokens x = input;
    if (x.transposed && since_033(tape))
        x = {ghost::clone(tape, path_, x.values, x.values.shape()), false};
    const bool transposed = x.transposed;
    Tensor update = [&] {
        const Tensor in = attention_input(tape, path_, x, sets);
        return self_.forward(tape, in, given.rope);
    }();
    x.values = add_gated(tape, path_, x.values, update, sets);
    if (!audio_) update = {};  // HuMo's block keeps it
    return {finish(tape, path_, std::move(x), sets, given, std::move(update)), transposed};
}

}  // namespace plimsoll::memory
