// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hidream_blocks.h"

#include <fmt/format.h>

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kMultipleOf = 256;  // hidden widths are rounded up to it
constexpr int kModulationsPerStream = 6;   // shift, scale and gate around attention and experts

// Three matrices in place of two: two thirds of the width.
std::int64_t gated_width(std::int64_t hidden) {
    return (2 * hidden / 3 + kMultipleOf - 1) / kMultipleOf * kMultipleOf;
}

// Rotated in fp32; the second product is added in place, before 0.33.0 too.
Tensor rotate(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &table}, x.shape(), x.type());
    const Tensor wide = ghost::to_type(tape, module, x, table.type());
    const Shape& s = x.shape();
    const Shape pairs{s[0], s[1], s[2], s[3] / 2, 2};
    const Tensor column = table.view({table.shape()[0], table.shape()[1], table.shape()[2], 2});
    const Tensor half = wide.view(pairs.with(4, 1));
    const Tensor sum = ghost::combine(tape, "mul", module, {&column, &half}, pairs, table.type());
    ghost::combine_in_place(tape, "addcmul_", module, sum, {&column, &half});
    return ghost::to_type(tape, module, sum.view(s), x.type());
}

}  // namespace

HiDreamFeedForward::HiDreamFeedForward(Registry& r, std::string_view path, std::int64_t width,
                                       std::int64_t hidden)
    : path_(r.path(path, "")),
      w1_(r, r.path(path, "w1"), width, gated_width(hidden), Bias::No),
      w2_(r, r.path(path, "w2"), gated_width(hidden), width, Bias::No),
      w3_(r, r.path(path, "w3"), width, gated_width(hidden), Bias::No) {}

Tensor HiDreamFeedForward::forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor gate = [&] {
            const Tensor in = w1_.forward(tape, x);
            return ghost::unary(tape, "silu", path_, in);
        }();
        const Tensor value = w3_.forward(tape, x);
        return ghost::binary(tape, "mul", path_, gate, value);
    }();
    return w2_.forward(tape, hidden);
}

HiDreamExperts::HiDreamExperts(Registry& r, std::string_view path, const HiDreamWidths& w)
    : path_(r.path(path, "")),
      widths_(w),
      shared_(r, *r.path(path, "shared_experts"), w.hidden, kMlpRatio * w.hidden / 2) {
    experts_.reserve(static_cast<std::size_t>(w.experts));
    for (std::int64_t i = 0; i < w.experts; ++i)
        experts_.emplace_back(r, *r.path(path, fmt::format("experts.{}", i)), w.hidden,
                              kMlpRatio * w.hidden);
    gate_ = r.path(path, "gate");
    r.add_own_parameters(gate_, "MoEGate", w.experts * w.hidden, ModuleStorage::AsNetwork);
}

HiDreamExperts::Choice HiDreamExperts::choose(Tape& tape, const Tensor& x) const {
    const std::int64_t tokens = x.elements() / widths_.hidden;
    const Tensor scores = [&] {
        const Tape::Cast weight = tape.cast_weight({widths_.experts, widths_.hidden}, gate_);
        const Tensor logits = tape.make({tokens, widths_.experts}, x.type(), "mm", gate_);
        tape.charge(OpClass::MatMul, "mm", gate_,
                    ghost::saturating_product({2, tokens, widths_.hidden, widths_.experts}),
                    x.bytes() + widths_.experts * widths_.hidden * ghost::element_bytes(x.type()) +
                        logits.bytes());
        return ghost::unary(tape, "_softmax", gate_, logits);
    }();
    Choice choice;
    choice.weights = ghost::produce(tape, OpClass::Elementwise, "topk", gate_, scores,
                                    {tokens, widths_.activated}, x.type());
    choice.experts = tape.make({tokens, widths_.activated}, ElementType::Int64, "topk", gate_);
    return choice;
}

// Every token once for each expert that it chose; each expert picks its rows by a mask.
Tensor HiDreamExperts::run(Tape& tape, const Tensor& x, const Choice& choice) const {
    const std::int64_t tokens = x.elements() / widths_.hidden;
    const std::int64_t rows = tokens * widths_.activated;
    const std::int64_t taken =
        rows / (widths_.load == ExpertLoad::Worst ? widths_.activated : widths_.experts);
    const Tensor repeated = ghost::produce(tape, OpClass::Copy, "clone", path_, x,
                                           {tokens, widths_.activated, widths_.hidden}, x.type());
    // Recorder a counted all that an index could reach, the others what it did.
    const bool counts_whole = !tape.options().casts_included;
    const Tensor y = tape.make({rows, widths_.hidden}, x.type(), "empty_like", path_);
    const auto mask = [&] {
        return ghost::produce(tape, OpClass::Elementwise, "eq", path_, choice.experts, {rows},
                              ElementType::Bool);
    };
    for (const HiDreamFeedForward& expert : experts_) {
        const Tensor out = [&] {
            const Tensor own = [&] {
                const Tensor chosen = mask();
                Tensor picked = tape.make({taken, widths_.hidden}, x.type(), "index", path_);
                tape.charge(OpClass::Copy, "index", path_, 0,
                            counts_whole ? repeated.bytes() + picked.bytes() : 2 * picked.bytes());
                return picked;
            }();
            return expert.forward(tape, own);
        }();
        const Tensor chosen = mask();
        tape.charge(OpClass::Copy, "index_put_", path_, 0,
                    counts_whole ? 2 * y.bytes() + out.bytes() : 2 * out.bytes());
    }
    const Tensor weighted = ghost::binary(
        tape, "mul", path_, y.view({tokens, widths_.activated, widths_.hidden}), choice.weights);
    return ghost::produce(tape, OpClass::Elementwise, "sum", path_, weighted,
                          {tokens, widths_.hidden}, x.type())
        .view(x.shape());
}

Tensor HiDreamExperts::forward(Tape& tape, const Tensor& x) const {
    const Choice choice = choose(tape, x);
    const Tensor routed = run(tape, x, choice);
    const Tensor shared = shared_.forward(tape, x);
    return ghost::binary(tape, "add", path_, routed, shared);
}

HiDreamAttention::Side HiDreamAttention::make_side(Registry& r, std::string_view path,
                                                   std::string_view ending,
                                                   const HiDreamWidths& w) {
    const auto at = [&](std::string_view name) {
        return r.path(path, fmt::format("{}{}", name, ending));
    };
    Linear q(r, at("to_q"), w.hidden, w.hidden);
    Linear k(r, at("to_k"), w.hidden, w.hidden);
    Linear v(r, at("to_v"), w.hidden, w.hidden);
    Linear out(r, at("to_out"), w.hidden, w.hidden);
    RmsNorm q_norm(r, at("q_rms_norm"), w.hidden);
    RmsNorm k_norm(r, at("k_rms_norm"), w.hidden);
    return {q, k, v, out, q_norm, k_norm};
}

HiDreamAttention::HiDreamAttention(Registry& r, std::string_view path, const HiDreamWidths& w,
                                   HiDreamStreams streams)
    : path_(r.path(path, "")), widths_(w), img_(make_side(r, path, "", w)) {
    if (streams == HiDreamStreams::Double) txt_ = make_side(r, path, "_t", w);
}

HiDreamAttention::Heads HiDreamAttention::project(Tape& tape, const Side& side,
                                                  const Tensor& x) const {
    const Shape heads{x.shape()[0], x.shape()[1], widths_.heads, widths_.head_dim};
    const auto normal = [&](const Linear& linear, const RmsNorm& norm) {
        const Tensor projected = linear.forward(tape, x);
        return norm.forward(tape, projected).view(heads);
    };
    Heads h;
    h.q = normal(side.to_q, side.q_norm);
    h.k = normal(side.to_k, side.k_norm);
    h.v = side.to_v.forward(tape, x).view(heads);
    return h;
}

// The rotated queries and keys take the place of the old ones.
Tensor HiDreamAttention::attend(Tape& tape, Heads& heads, const Tensor& table) const {
    Tensor q = rotate(tape, path_, heads.q, table);
    Tensor k = rotate(tape, path_, heads.k, table);
    heads.q = std::move(q);
    heads.k = std::move(k);
    const Shape& s = heads.q.shape();
    return ghost::attention(tape, path_, heads.q, heads.k, heads.v,
                            {.batch = s[0],
                             .heads = widths_.heads,
                             .queries = s[1],
                             .keys = s[1],
                             .head_dim = widths_.head_dim})
        .view({s[0], s[1], widths_.hidden});
}

// Every variable of the Python function lives until it returns, but for the queries and keys that
// were rotated.
HiDreamAttention::Streams HiDreamAttention::forward(Tape& tape, const Tensor& img,
                                                    const Tensor& txt, const Tensor& table) const {
    const Heads own = project(tape, img_, img);
    if (!txt_) {
        Heads heads = own;
        const Tensor out = attend(tape, heads, table);
        return {.img = img_.to_out.forward(tape, out), .txt = {}};
    }
    const Heads text = project(tape, *txt_, txt);
    const auto join = [&](const Tensor& image, const Tensor& words) {
        return ghost::cat(tape, path_, std::array<Tensor, 2>{image, words}, 1);
    };
    Heads joined;
    joined.q = join(own.q, text.q);
    joined.k = join(own.k, text.k);
    joined.v = join(own.v, text.v);
    const Tensor out = attend(tape, joined, table);
    Streams streams;
    streams.img = img_.to_out.forward_slice(tape, out.view(img.shape()));
    streams.txt = txt_->to_out.forward_slice(tape, out.view(txt.shape()));
    return streams;
}

HiDreamBlock::HiDreamBlock(Registry& r, std::string_view path, const HiDreamWidths& w,
                           HiDreamStreams streams)
    : path_(r.path(path, "")),
      widths_(w),
      act_(r.path(path, "adaLN_modulation.0")),
      modulation_(r, r.path(path, "adaLN_modulation.1"), w.hidden,
                  kModulationsPerStream * (streams == HiDreamStreams::Double ? 2 : 1) * w.hidden),
      norm_(r, r.path(path, "norm1_i"), w.hidden, Affine::No),
      attention_(r, *r.path(path, "attn1"), w, streams),
      experts_(r, *r.path(path, "ff_i"), w) {
    if (streams == HiDreamStreams::Double)
        text_feed_forward_.emplace(r, *r.path(path, "ff_t"), w.hidden, kMlpRatio * w.hidden);
}

// norm(x) * (1 + scale) + shift.
Tensor HiDreamBlock::prepare(Tape& tape, const LayerNorm& norm, const Tensor& x,
                             const Tensor& part) const {
    const Tensor normal = norm.forward(tape, x);
    const Tensor product = scaled(tape, path_, normal, part);
    return ghost::binary(tape, "add", path_, product, part);
}

HiDreamAttention::Streams HiDreamBlock::forward(Tape& tape, const Tensor& img, const Tensor& txt,
                                                const Tensor& condition,
                                                const Tensor& table) const {
    const Tensor modulation = [&] {
        const Tensor active = ghost::unary(tape, "silu", act_, condition);
        return modulation_.forward(tape, active);
    }();
    const Tensor part = modulation.view({img.shape()[0], 1, widths_.hidden});
    const bool both = text_feed_forward_.has_value();
    const auto gated = [&](const Tensor& update, const Tensor& x) {
        const Tensor product = ghost::binary(tape, "mul", path_, update, part);
        return ghost::binary(tape, "add", path_, product, x);
    };
    HiDreamAttention::Streams out;
    Tensor img_in = prepare(tape, norm_, img, part);
    Tensor txt_in = both ? prepare(tape, norm_, txt, part) : Tensor();
    const HiDreamAttention::Streams attended = attention_.forward(tape, img_in, txt_in, table);
    out.img = gated(attended.img, img);
    if (both) out.txt = gated(attended.txt, txt);

    const auto replace = [&](Tensor& variable, const Tensor& x) {
        // The variable's old tensor dies as the normal one takes its place.
        variable = norm_.forward(tape, x);
        const Tensor product = scaled(tape, path_, variable, part);
        variable = ghost::binary(tape, "add", path_, product, part);
    };
    replace(img_in, out.img);
    if (both) replace(txt_in, out.txt);
    const auto gated_update = [&](const Tensor& update) {
        return ghost::binary(tape, "mul", path_, update, part);
    };
    const Tensor img_update = gated_update(experts_.forward(tape, img_in));
    if (!both) {
        out.img = ghost::binary(tape, "add", path_, img_update, out.img);
        return out;
    }
    const Tensor txt_update = gated_update(text_feed_forward_->forward(tape, txt_in));
    out.img = ghost::binary(tape, "add", path_, img_update, out.img);
    out.txt = ghost::binary(tape, "add", path_, txt_update, out.txt);
    return out;
}

}  // namespace plimsoll::memory
