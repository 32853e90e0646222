// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/boogu_block.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

using modelfile::OmniGen2Config;

namespace {

constexpr std::int64_t kModulations = 4;  // of each norm

}  // namespace

BooguJointAttention::Projections BooguJointAttention::make_projections(
    Registry& r, std::string_view path, std::string_view stream, const OmniGen2Config& c) const {
    const auto at = [&](std::string_view name) {
        return r.path(path, fmt::format("processor.{}_{}", stream, name));
    };
    const std::int64_t narrow = kv_heads_ * head_dim_;
    const Linear q(r, at("to_q"), c.hidden_size, c.hidden_size, Bias::No);
    const Linear k(r, at("to_k"), c.hidden_size, narrow, Bias::No);
    const Linear v(r, at("to_v"), c.hidden_size, narrow, Bias::No);
    return {q, k, v};
}

BooguJointAttention::BooguJointAttention(Registry& r, std::string_view path,
                                         const OmniGen2Config& c)
    : path_(r.path(path, "")),
      processor_(r.path(path, "processor")),
      heads_(c.num_attention_heads),
      kv_heads_(c.num_kv_heads),
      head_dim_(c.hidden_size / c.num_attention_heads),
      norm_q_(r, r.path(path, "norm_q"), head_dim_),
      norm_k_(r, r.path(path, "norm_k"), head_dim_),
      to_out_(r, r.path(path, "to_out.0"), c.hidden_size, c.hidden_size, Bias::No),
      img_(make_projections(r, path, "img", c)),
      txt_(make_projections(r, path, "instruct", c)),
      txt_out_(r, r.path(path, "processor.instruct_out"), c.hidden_size, c.hidden_size, Bias::No),
      img_out_(r, r.path(path, "processor.img_out"), c.hidden_size, c.hidden_size, Bias::No) {}

// Every variable of the Python function lives until it returns.
Tensor BooguJointAttention::forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                    const Tensor& table) const {
    const std::int64_t batch = img.shape()[0];
    const std::int64_t tokens = img.shape()[1] + txt.shape()[1];
    const Tensor img_q = img_.q.forward(tape, img);
    const Tensor img_k = img_.k.forward(tape, img);
    const Tensor img_v = img_.v.forward(tape, img);
    const Tensor txt_q = txt_.q.forward(tape, txt);
    const Tensor txt_k = txt_.k.forward(tape, txt);
    const Tensor txt_v = txt_.v.forward(tape, txt);
    const auto join = [&](const Tensor& text, const Tensor& image, std::int64_t heads) {
        return ghost::cat(tape, processor_, std::array<Tensor, 2>{text, image}, 1)
            .view({batch, tokens, heads, head_dim_});
    };
    Tensor q = join(txt_q, img_q, heads_);
    Tensor k = join(txt_k, img_k, kv_heads_);
    const Tensor v = join(txt_v, img_v, kv_heads_);
    q = norm_q_.forward(tape, q);
    k = norm_k_.forward(tape, k);
    q = apply_rope(tape, processor_, q, table);
    k = apply_rope(tape, processor_, k, table);
    Tensor out = ghost::attention(tape, processor_, q, k, v,
                                  {.batch = batch,
                                   .heads = heads_,
                                   .queries = tokens,
                                   .keys = tokens,
                                   .head_dim = head_dim_});
    const Tensor own_txt = txt_out_.forward_slice(tape, out.view(txt.shape()));
    const Tensor own_img = img_out_.forward_slice(tape, out.view(img.shape()));
    out = ghost::cat(tape, processor_, std::array<Tensor, 2>{own_txt, own_img}, 1);
    return to_out_.forward(tape, out);
}

BooguDoubleBlock::Modulator::Modulator(Registry& r, std::string_view path, const OmniGen2Config& c)
    : path_(r.path(path, "")),
      act_(r.path(path, "silu")),
      width_(c.hidden_size),
      linear_(r, r.path(path, "linear"), omnigen2_time_width(c), kModulations * c.hidden_size),
      norm_(r, r.path(path, "norm"), c.hidden_size) {}

BooguDoubleBlock::Modulator::Result BooguDoubleBlock::Modulator::forward(Tape& tape,
                                                                         const Tensor& x,
                                                                         const Tensor& time) const {
    Result result;
    result.parts = [&] {
        const Tensor active = ghost::unary(tape, "silu", act_, time);
        return linear_.forward(tape, active);
    }();
    result.parts = result.parts.view({x.shape()[0], 1, width_});
    const Tensor normal = norm_.forward(tape, x);
    result.normal = scaled(tape, path_, normal, result.parts);
    return result;
}

BooguDoubleBlock::BooguDoubleBlock(Registry& r, std::string_view path, const OmniGen2Config& c)
    : path_(r.path(path, "")),
      joint_(r, *r.path(path, "img_instruct_attn"), c),
      self_(r, *r.path(path, "img_self_attn"), c),
      img_feed_forward_(r, *r.path(path, "img_feed_forward"), c),
      txt_feed_forward_(r, *r.path(path, "instruct_feed_forward"), c),
      img_norm1_(r, *r.path(path, "img_norm1"), c),
      img_norm2_(r, *r.path(path, "img_norm2"), c),
      img_norm3_(r, *r.path(path, "img_norm3"), c),
      txt_norm1_(r, *r.path(path, "instruct_norm1"), c),
      txt_norm2_(r, *r.path(path, "instruct_norm2"), c),
      img_attn_norm_(r, r.path(path, "img_attn_norm"), c.hidden_size),
      img_self_attn_norm_(r, r.path(path, "img_self_attn_norm"), c.hidden_size),
      img_ffn_norm1_(r, r.path(path, "img_ffn_norm1"), c.hidden_size),
      img_ffn_norm2_(r, r.path(path, "img_ffn_norm2"), c.hidden_size),
      txt_attn_norm_(r, r.path(path, "instruct_attn_norm"), c.hidden_size),
      txt_ffn_norm1_(r, r.path(path, "instruct_ffn_norm1"), c.hidden_size),
      txt_ffn_norm2_(r, r.path(path, "instruct_ffn_norm2"), c.hidden_size) {}

// base + tanh(gate) * norm(update).
Tensor BooguDoubleBlock::add_gated(Tape& tape, const Tensor& base, const RmsNorm& norm,
                                   const Tensor& update, const Tensor& gate) const {
    const Tensor gated = [&] {
        const Tensor open = ghost::unary(tape, "tanh", path_, gate);
        const Tensor normal = norm.forward(tape, update);
        return ghost::binary(tape, "mul", path_, normal, open);
    }();
    return ghost::binary(tape, "add", path_, base, gated);
}

// One norm's output, by the parts of two: (1 + scale) * normal + shift.
Tensor BooguDoubleBlock::scale_and_shift(Tape& tape, const Modulator::Result& scaled_by,
                                         const Modulator::Result& normal) const {
    const Tensor product = scaled(tape, path_, normal.normal, scaled_by.parts);
    return ghost::binary(tape, "add", path_, product, normal.parts);
}

// Every variable of the Python function lives until it returns.
void BooguDoubleBlock::forward(Tape& tape, Tensor& img, Tensor& txt, const Tensor& table,
                               const Tensor& time) const {
    const Tensor callers_img = img;
    const Tensor callers_txt = txt;
    const Modulator::Result img1 = img_norm1_.forward(tape, img, time);
    const Modulator::Result img2 = img_norm2_.forward(tape, img, time);
    const Modulator::Result img3 = img_norm3_.forward(tape, img, time);
    const Modulator::Result txt1 = txt_norm1_.forward(tape, txt, time);
    const Modulator::Result txt2 = txt_norm2_.forward(tape, txt, time);
    const Tensor joint = joint_.forward(tape, img1.normal, txt1.normal, table);
    const Tensor own =
        self_.forward(tape, img3.normal, table.view(table.shape().with(1, img.shape()[1])));

    img = add_gated(tape, img, img_attn_norm_, joint.view(img.shape()), img1.parts);
    img = add_gated(tape, img, img_self_attn_norm_, own, img3.parts);
    const auto feed = [&](const RmsNorm& norm, const OmniGen2FeedForward& layer, const Tensor& in) {
        const Tensor normal = norm.forward(tape, in);
        return layer.forward(tape, normal);
    };
    const Tensor img_in = scale_and_shift(tape, img1, img2);
    const Tensor img_fed = feed(img_ffn_norm1_, img_feed_forward_, img_in);
    img = add_gated(tape, img, img_ffn_norm2_, img_fed, img1.parts);

    txt = add_gated(tape, txt, txt_attn_norm_, joint.view(txt.shape()), txt1.parts);
    const Tensor txt_in = scale_and_shift(tape, txt1, txt2);
    const Tensor txt_fed = feed(txt_ffn_norm1_, txt_feed_forward_, txt_in);
    txt = add_gated(tape, txt, txt_ffn_norm2_, txt_fed, txt1.parts);
}

}  // namespace plimsoll::memory
