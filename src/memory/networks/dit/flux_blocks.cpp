// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/flux_blocks.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

// One of the equal parts that a modulation is cut into: a view.
Tensor part(const Tensor& modulation, std::int64_t width) {
    return modulation.view({modulation.shape()[0], 1, width});
}

// [N, tokens, 3 x heads x dim] as one of q, k, v: [N, heads, tokens, dim], a view.
Tensor head_view(const Tensor& qkv, const FluxWidths& w) {
    return qkv.view({qkv.shape()[0], w.heads, qkv.shape()[1], w.hidden / w.heads});
}

bool is_chromas(const Tape& tape, const FluxWidths& widths) {
    return widths.forward == BlockForward::Chroma && !since_033(tape);
}

// The norm's kernel copies what is strided first. Of the recorders, those that list kernels'
// temporaries looked.
Tensor normalise(Tape& tape, const LayerNorm& norm, const Tensor& x, bool strided) {
    return strided && tape.options().casts_included ? norm.forward_strided(tape, x)
                                                    : norm.forward(tape, x);
}

// Normalised, scaled and shifted.
Tensor modulated(Tape& tape, Module module, const LayerNorm& norm, const Tensor& x,
                 const Tensor& modulation, const FluxWidths& widths, bool strided = false) {
    const Tensor scale = part(modulation, widths.hidden);
    const Tensor& shift = scale;  // another part, of the same size
    if (!is_chromas(tape, widths)) {
        const Tensor normal = normalise(tape, norm, x, strided);
        return modulate(tape, module, normal, scale, shift);
    }
    const Tensor factor = ghost::unary(tape, "add", module, scale);
    const Tensor normal = normalise(tape, norm, x, strided);
    return ghost::combine(tape, "addcmul", module, {&shift, &factor, &normal}, x.shape(), x.type());
}

}  // namespace

QkNorm::QkNorm(Registry& r, std::string_view path, std::int64_t head_dim)
    : query_(r, r.path(path, "query_norm"), head_dim, Affine::Yes, NormClass::Plain),
      key_(r, r.path(path, "key_norm"), head_dim, Affine::Yes, NormClass::Plain) {}

FluxModulation::FluxModulation(Registry& r, std::string_view path, std::int64_t width, int sets,
                               Bias bias)
    : path_(r.path(path, "")), lin_(r, r.path(path, "lin"), width, 3 * sets * width, bias) {}

Tensor FluxModulation::forward(Tape& tape, const Tensor& vec) const {
    const Tensor active = ghost::unary(tape, "silu", path_, vec);
    const Tensor out = lin_.forward(tape, active);
    return out.view({out.shape()[0], 1, out.shape().last()});
}

FluxActivation::FluxActivation(Registry& r, std::string_view path, FluxMlp kind)
    : kind_(kind), path_(r.path(path, "")), gate_(r.path(path, "gate_fn")) {}

Tensor FluxActivation::open(Tape& tape, const Tensor& gate) const {
    return ghost::unary(tape, "silu", gate_, gate);
}

Tensor FluxActivation::forward(Tape& tape, const Tensor& x) const {
    if (kind_ == FluxMlp::Gelu) return ghost::unary(tape, "gelu", path_, x);
    const Tensor half = x.view(x.shape().with_last(x.shape().last() / 2));
    const Tensor gate = open(tape, half);
    return ghost::binary(tape, "mul", path_, gate, half);
}

FluxDoubleBlock::Stream FluxDoubleBlock::make_stream(Registry& r, std::string_view path,
                                                     std::string_view name, const FluxWidths& w) {
    const auto at = [&](std::string_view rest) {
        return r.path(path, fmt::format("{}_{}", name, rest));
    };
    std::optional<FluxModulation> mod;
    if (w.modulated == Modulated::ByTheBlock) mod.emplace(r, *at("mod"), w.hidden, 2, w.bias);
    const LayerNorm norm1(r, at("norm1"), w.hidden, Affine::No);
    const Linear qkv(r, at("attn.qkv"), w.hidden, 3 * w.hidden, w.qkv_bias);
    const QkNorm norm(r, *at("attn.norm"), w.hidden / w.heads);
    const Linear proj(r, at("attn.proj"), w.hidden, w.hidden, w.bias);
    const LayerNorm norm2(r, at("norm2"), w.hidden, Affine::No);
    const bool split = w.mlp_kind == FluxMlp::SplitSilu;
    std::optional<Linear> mlp_gate;
    if (split) mlp_gate.emplace(r, at("mlp.gate_proj"), w.hidden, w.mlp, w.bias);
    const Linear mlp_in(r, at(split ? "mlp.up_proj" : "mlp.0"), w.hidden,
                        split ? w.mlp : w.mlp_in(), w.bias);
    const FluxActivation mlp_act(r, *at(split ? "mlp.act_fn" : "mlp.1"), w.mlp_kind);
    const Linear mlp_out(r, at(split ? "mlp.down_proj" : "mlp.2"), w.mlp, w.hidden, w.bias);
    const bool strided = w.strided_img && name == "img";
    return {mod, norm1, qkv, norm, proj, norm2, mlp_gate, mlp_in, mlp_act, mlp_out, strided};
}

FluxDoubleBlock::FluxDoubleBlock(Registry& r, std::string_view path, const FluxWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      img_(make_stream(r, path, "img", w)),
      txt_(make_stream(r, path, "txt", w)) {}

// What a stream brings to the joint attention. Its modulated input lives on in the caller's frame
// up to 0.3.64.
struct FluxDoubleBlock::Attended {
    Tensor modulated;
    Tensor q;
    Tensor k;
    Tensor v;
};

FluxDoubleBlock::Attended FluxDoubleBlock::prepare(Tape& tape, const Stream& s, const Tensor& x,
                                                   const Tensor& mod) const {
    Attended a;
    a.modulated = modulated(tape, path_, s.norm1, x, mod, widths_, s.strided);
    const Tensor qkv = s.qkv.forward(tape, a.modulated);
    if (since_033(tape)) a.modulated = {};
    a.v = head_view(qkv, widths_);
    a.q = s.norm.query(tape, a.v);
    a.k = s.norm.key(tape, a.v);
    return a;
}

Tensor FluxDoubleBlock::attend(Tape& tape, Attended& txt, Attended& img, const Tensor& pe) const {
    const auto join = [&](Tensor& t, Tensor& i) {
        Tensor both = ghost::cat(tape, path_, std::array<Tensor, 2>{t, i}, 2);
        if (since_033(tape)) t = i = {};
        return both;
    };
    Tensor q = join(txt.q, img.q);
    Tensor k = join(txt.k, img.k);
    const Tensor v = join(txt.v, img.v);
    const Rotated rotated = apply_rope(tape, path_, std::move(q), std::move(k), pe);
    const Shape& s = v.shape();
    const Tensor out = ghost::attention(
        tape, path_, rotated.q, rotated.k, v,
        {.batch = s[0], .heads = s[1], .queries = s[2], .keys = s[2], .head_dim = s[3]});
    const Shape tokens{s[0], s[2], widths_.hidden};
    // Laid out as q is, it is copied; recorders that list kernels' temporaries took it to be laid
    // out token by token.
    return runs_flash(tape, v.type(), s[3]) && !tape.options().casts_included
               ? ghost::clone(tape, path_, out, tokens)
               : out.view(tokens);
}

// `attended` is a slice along the tokens: rows of one matrix only where there is one sequence and,
// without a bias, not even there.
Tensor FluxDoubleBlock::project(Tape& tape, const Stream& s, const Tensor& attended) const {
    const bool one_matrix = attended.shape()[0] == 1 && widths_.bias == Bias::Yes;
    return one_matrix ? s.proj.forward(tape, attended) : s.proj.forward_batched(tape, attended);
}

Tensor FluxDoubleBlock::feed_forward(Tape& tape, const Stream& s, const Tensor& x,
                                     const Tensor& mod) const {
    const Tensor input = modulated(tape, path_, s.norm2, x, mod, widths_, s.strided);
    const Tensor hidden = [&] {
        if (s.mlp_gate) {
            const Tensor gate = [&] {
                const Tensor closed = s.mlp_gate->forward(tape, input);
                return s.mlp_act.open(tape, closed);
            }();
            const Tensor up = s.mlp_in.forward(tape, input);
            return ghost::binary(tape, "mul", path_, gate, up);
        }
        const Tensor in = s.mlp_in.forward(tape, input);
        return s.mlp_act.forward(tape, in);
    }();
    return s.mlp_out.forward(tape, hidden);
}

void FluxDoubleBlock::forward(Tape& tape, Tensor& img, Tensor& txt, const FluxCondition& condition,
                              const Tensor& pe) const {
    const std::int64_t width = widths_.hidden;
    const Tensor callers_img = img;
    const Tensor img_mod = img_.mod ? img_.mod->forward(tape, condition.img) : condition.img;
    const Tensor txt_mod = txt_.mod ? txt_.mod->forward(tape, condition.txt) : condition.txt;
    Attended img_part = prepare(tape, img_, img, img_mod);
    Attended txt_part = prepare(tape, txt_, txt, txt_mod);
    const Tensor attended = attend(tape, txt_part, img_part, pe);
    const Tensor txt_attended = attended.view(txt.shape());
    const Tensor img_attended = attended.view(img.shape());

    const bool chromas = is_chromas(tape, widths_);
    const auto add_gated = [&](Tensor& x, Tensor update, const Tensor& mod, bool in_place) {
        const Tensor gate = part(mod, width);
        if (chromas) return ghost::combine_in_place(tape, "addcmul_", path_, x, {&gate, &update});
        const Tensor gated = ghost::binary(tape, "mul", path_, update, gate);
        update = {};
        if (in_place)
            ghost::binary_in_place(tape, "add_", path_, x, gated);
        else
            x = ghost::binary(tape, "add", path_, x, gated);
    };
    const bool newer = since_033(tape);
    add_gated(img, project(tape, img_, img_attended), img_mod, newer);
    add_gated(img, feed_forward(tape, img_, img, img_mod), img_mod, newer);
    add_gated(txt, project(tape, txt_, txt_attended), txt_mod, true);
    add_gated(txt, feed_forward(tape, txt_, txt, txt_mod), txt_mod, true);
    txt = without_infinities(tape, path_, txt);
}

FluxSingleBlock::FluxSingleBlock(Registry& r, std::string_view path, const FluxWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      linear1_(r, r.path(path, "linear1"), w.hidden, 3 * w.hidden + w.mlp_in(), w.bias),
      linear2_(r, r.path(path, "linear2"), w.hidden + w.mlp, w.hidden, w.bias),
      norm_(r, *r.path(path, "norm"), w.hidden / w.heads),
      pre_norm_(r, r.path(path, "pre_norm"), w.hidden, Affine::No),
      act_(r, *r.path(path, "mlp_act"), w.mlp_kind) {
    if (w.modulated == Modulated::ByTheBlock)
        modulation_.emplace(r, *r.path(path, "modulation"), w.hidden, 1, w.bias);
}

void FluxSingleBlock::forward(Tape& tape, Tensor& x, const Tensor& condition,
                              const Tensor& pe) const {
    const bool newer = since_033(tape);
    const bool chromas = is_chromas(tape, widths_);
    const std::int64_t width = widths_.hidden;
    const Tensor mod = modulation_ ? modulation_->forward(tape, condition) : condition;
    const std::int64_t batch = x.shape()[0];
    const std::int64_t tokens = x.shape()[1];
    Tensor input = modulated(tape, path_, pre_norm_, x, mod, widths_);
    Tensor both = linear1_.forward(tape, input);
    if (!chromas) input = {};  // there it has a name
    const std::int64_t head_dim = width / widths_.heads;
    Tensor v = both.view({batch, widths_.heads, tokens, head_dim});
    Tensor q = norm_.query(tape, v);
    Tensor k = norm_.key(tape, v);
    Tensor attended;
    {
        const Rotated rotated = apply_rope(tape, path_, q, k, pe);
        attended = ghost::attention(tape, path_, rotated.q, rotated.k, v,
                                    {.batch = batch,
                                     .heads = widths_.heads,
                                     .queries = tokens,
                                     .keys = tokens,
                                     .head_dim = head_dim});
        // Flash attention's result is laid out as q is; head by head, as the fused kernels write
        // it, it must be copied.
        const ghost::TapeOptions& kernels = tape.options();
        const bool by_heads = kernels.fused_rope || kernels.fused_rms_norm;
        if (by_heads && runs_flash(tape, v.type(), head_dim))
            attended = ghost::clone(tape, path_, attended, {batch, tokens, width});
    }
    if (newer) q = k = {};
    // The output lives on in the caller's frame while its gated copy is added.
    const Tensor out = [&] {
        const Tensor joined = [&] {
            const std::array<Tensor, 2> parts = {
                attended.view({batch, tokens, width}),
                act_.forward(tape, both.view({batch, tokens, widths_.mlp_in()}))};
            if (newer) both = v = {};
            return ghost::cat(tape, path_, parts, 2);
        }();
        return linear2_.forward(tape, joined);
    }();
    const Tensor gate = part(mod, width);
    if (chromas) {
        ghost::combine_in_place(tape, "addcmul_", path_, x, {&gate, &out});
    } else {
        const Tensor gated = ghost::binary(tape, "mul", path_, out, gate);
        ghost::binary_in_place(tape, "add_", path_, x, gated);
    }
    x = without_infinities(tape, path_, x);
}

FluxFinalLayer::FluxFinalLayer(Registry& r, std::string_view path, const FluxWidths& w,
                               std::int64_t channels, Modulated modulated)
    : path_(r.path(path, "")),
      widths_(w),
      linear_(r, r.path(path, "linear"), w.hidden, channels, w.bias),
      silu_(r.path(path, "adaLN_modulation.0")),
      norm_(r, r.path(path, "norm_final"), w.hidden, Affine::No) {
    if (modulated == Modulated::ByTheBlock)
        modulation_.emplace(r, r.path(path, "adaLN_modulation.1"), w.hidden, 2 * w.hidden, w.bias);
}

Tensor FluxFinalLayer::forward(Tape& tape, const Tensor& own, const Tensor& condition) const {
    const Tensor modulation = [&] {
        if (!modulation_) return condition;
        const Tensor active = ghost::unary(tape, "silu", silu_, condition);
        return modulation_->forward(tape, active);
    }();
    const bool strided = own.shape()[0] > 1;  // a slice of several sequences
    const Tensor input = modulated(tape, path_, norm_, own, modulation, widths_, strided);
    return linear_.forward(tape, input);
}

namespace {

void write_axis(Tape& tape, Module module, const Tensor& axis) {
    ghost::binary_in_place(tape, "copy_", module, axis, axis);
}

}  // namespace

Tensor image_ids(Tape& tape, Module module, std::int64_t batch, std::int64_t rows,
                 std::int64_t columns, const PositionIds& ids, ImageIndex index) {
    const ElementType type = ids.type;
    const Tensor grid = ghost::create(tape, "zeros", module, {rows, columns, ids.axes}, type);
    if (index == ImageIndex::Written)
        write_axis(
            tape, module,
            ghost::produce(tape, OpClass::Elementwise, "add", module, grid, {rows, columns}, type));
    for (const std::int64_t length : {rows, columns}) {
        const Tensor axis = [&] {
            const Tensor positions = ghost::create(tape, "linspace", module, {length}, type);
            return ghost::combine(tape, "add", module, {&positions, &grid}, {rows, columns}, type);
        }();
        write_axis(tape, module, axis);
    }
    // Expanded over the batch, not copied.
    return grid.view({batch, rows * columns, ids.axes});
}

Tensor text_ids(Tape& tape, Module module, std::int64_t batch, std::int64_t tokens,
                const PositionIds& ids, std::size_t numbered) {
    Tensor all = ghost::create(tape, "zeros", module, {batch, tokens, ids.axes}, ids.type);
    for (std::size_t i = 0; i < numbered; ++i)
        write_axis(tape, module, ghost::create(tape, "linspace", module, {tokens}, ids.type));
    return all;
}

}  // namespace plimsoll::memory
