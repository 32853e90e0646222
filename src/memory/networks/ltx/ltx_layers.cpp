// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_layers.h"

#include "memory/networks/dit/dit_layers.h"

#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

constexpr std::int64_t kMlpRatio = 4;
constexpr std::int64_t kTimestepWidth = 256;  // of the sinusoids

// x rotated by cosines and sines: the pairs turned by a quarter beside it.
Tensor rotate_by_waves(Tape& tape, Module module, const Tensor& x, const LtxRope& rope) {
    const Shape& s = x.shape();
    const Tensor turned = [&] {
        const Tensor minus =
            ghost::produce(tape, OpClass::Elementwise, "neg", module,
                           x.view({s[0], s[1], s[2] / 2}), {s[0], s[1], s[2] / 2}, x.type());
        const Tensor other = x.view(minus.shape());
        return ghost::combine(tape, "stack", module, {&minus, &other}, {s[0], s[1], s[2] / 2, 2},
                              x.type());
    }();
    const Tensor straight = ghost::combine(tape, "mul", module, {&x, &rope.cos}, s, x.type());
    const Tensor across = ghost::combine(tape, "mul", module, {&turned, &rope.sin}, s, x.type());
    return ghost::binary(tape, "add", module, straight, across);
}

// x rotated by 2 x 2 matrices.
Tensor rotate_by_matrices(Tape& tape, Module module, const Tensor& x, const LtxRope& rope) {
    const Shape& s = x.shape();
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &rope.rotation}, s, x.type());
    const Shape& r = rope.rotation.shape();
    const Tensor column = rope.rotation.view(r.with_last(2));
    const Tensor half = x.view({s[0], s[1], s[2] / 2});
    const auto product = [&] {
        return ghost::combine(tape, "mul", module, {&column, &half}, s, x.type());
    };
    Tensor first = product();
    if (!rope.split) {
        ghost::combine_in_place(tape, "addcmul_", module, first, {&column, &half});
        return first;
    }
    const Tensor sum = [&] {
        const Tensor second = product();
        return ghost::binary(tape, "add", module, first, second);
    }();
    return ghost::clone(tape, module, sum, s);  // the halves side by side again
}

Tensor rotate(Tape& tape, Module module, const Tensor& x, const LtxRope& rope) {
    return rope.cos.defined() ? rotate_by_waves(tape, module, x, rope)
                              : rotate_by_matrices(tape, module, x, rope);
}

// A few numbers from the host.
Tensor from_host(Tape& tape, Module module, std::int64_t count) {
    Tensor out = tape.make({count}, ElementType::Int64, "detach_", module);
    tape.charge(OpClass::Copy, "detach_", module, 0, 2 * out.bytes());
    return out;
}

constexpr std::int64_t kAxes = 3;  // frames, rows, columns

// Corners of the tokens in latent cells: starts, and ends one cell further on.
Tensor latent_corners(Tape& tape, Module module, std::int64_t batch, const LtxGrid& grid,
                      bool ends) {
    const auto steps = [&](std::int64_t length) {
        return ghost::create(tape, "arange", module, {length}, ElementType::Int64);
    };
    const std::array<Tensor, kAxes> sides = {steps(grid.frames), steps(grid.rows),
                                             steps(grid.columns)};
    Tensor corners =
        ghost::combine(tape, "stack", module, {&sides[0], &sides[1], &sides[2]},
                       {kAxes, grid.frames, grid.rows, grid.columns}, ElementType::Int64);
    const auto repeated = [&](const Tensor& stacked) {
        return ghost::produce(tape, OpClass::Copy, "repeat", module, stacked,
                              {batch, kAxes, grid.frames, grid.rows, grid.columns}, stacked.type());
    };
    const Tensor starts = repeated(corners);
    if (!ends) return starts.view({batch, kAxes, grid.tokens()});
    corners = [&] {
        const Tensor one = from_host(tape, module, kAxes);
        return ghost::binary(tape, "add", module, corners, one);
    }();
    const Tensor last = repeated(corners);
    return ghost::combine(tape, "stack", module, {&starts, &last}, {batch, kAxes, grid.tokens(), 2},
                          ElementType::Int64);
}

// One axis of [N, axes, tokens(, 2)].
Tensor axis_view(const Tensor& x) {
    const Shape& s = x.shape();
    return s.rank() == 4 ? x.view({s[0], s[2], s[3]}) : x.view({s[0], s[2]});
}

Tensor pixel_corners(Tape& tape, Module module, const Tensor& latent, CausalTime causal) {
    const Tensor pixel = [&] {
        const Tensor scale = from_host(tape, module, kAxes);
        return ghost::combine(tape, "mul", module, {&latent, &scale}, latent.shape(),
                              latent.type());
    }();
    if (causal == CausalTime::Yes) {
        const Tensor time = axis_view(pixel);
        Tensor moved = ghost::unary(tape, "add", module, time);
        moved = ghost::unary(tape, "sub", module, moved);
        moved = ghost::unary(tape, "clamp", module, moved);
        ghost::binary_in_place(tape, "copy_", module, time, moved);
    }
    return pixel;
}

// Frequencies of the rotations: `count` of them, in fp32.
Tensor frequencies(Tape& tape, Module module, std::int64_t count, bool precomputed) {
    const auto create = [&](std::string_view op) {
        return ghost::create(tape, op, module, {count}, ElementType::Float32);
    };
    if (precomputed) return create("_to_copy");
    Tensor steps = create("linspace");
    steps = ghost::unary(tape, "pow", module, steps);
    steps = ghost::unary(tape, "mul", module, steps);
    return ghost::unary(tape, "div", module, steps);
}

// Angles [N, tokens, axes x count].
Tensor rope_angles(Tape& tape, Module module, const Tensor& given, const LtxRopeShape& shape) {
    const std::int64_t batch = given.shape()[0];
    const std::int64_t axes = given.shape()[1];
    const std::int64_t tokens = given.shape()[2];
    const std::int64_t count = shape.hidden / (2 * axes);
    const auto steps = [&] { return frequencies(tape, module, count, shape.precomputed); };
    Tensor indices;
    if (since_033(tape)) indices = steps();
    Tensor positions = given;
    if (given.shape().rank() == 4) {
        const Tensor side = given.view({batch, axes, tokens});
        positions = side;
        if (shape.middle) {
            const Tensor sum =
                ghost::combine(tape, "add", module, {&side, &side}, side.shape(), side.type());
            positions = ghost::unary(tape, "div", module, sum);
        }
    }
    const Tensor fractions = [&] {
        std::vector<Tensor> parts;
        parts.reserve(static_cast<std::size_t>(axes));
        for (std::int64_t i = 0; i < axes; ++i)
            parts.push_back(ghost::unary(tape, "div", module, positions.view({batch, tokens})));
        Tensor out = tape.make({batch, tokens, axes}, ElementType::Float32, "stack", module);
        tape.charge(OpClass::Elementwise, "stack", module, 0, 2 * out.bytes());
        return out;
    }();
    if (!indices.defined()) indices = steps();
    const Tensor angles = [&] {
        Tensor spread = ghost::unary(tape, "mul", module, fractions);
        spread = ghost::unary(tape, "sub", module, spread);
        return ghost::combine(tape, "mul", module, {&indices, &spread},
                              {batch, tokens, axes, count}, ElementType::Float32);
    }();
    if (axes == 1) return angles.view({batch, tokens, count});
    return ghost::clone(tape, module, angles, {batch, tokens, axes * count});
}

// Each cosine (or sine) twice, and ones (zeros) in front where the axes do not fill the width.
Tensor repeated_waves(Tape& tape, Module module, const Tensor& angles, std::string_view wave) {
    const Shape& s = angles.shape();
    const Tensor once = ghost::unary(tape, wave, module, angles);
    return ghost::clone(tape, module, once, {s[0], s[1], s[2], 2}).view({s[0], s[1], 2 * s[2]});
}

LtxRope repeated_rope(Tape& tape, Module module, const Tensor& angles, std::int64_t padding,
                      ElementType type) {
    Tensor cos = repeated_waves(tape, module, angles, "cos");
    Tensor sin = repeated_waves(tape, module, angles, "sin");
    Tensor ones;
    Tensor zeros;
    if (padding > 0) {
        const Shape shape{angles.shape()[0], angles.shape()[1], padding};
        ones = ghost::create_like(tape, "ones_like", module, cos.view(shape));
        zeros = ghost::create_like(tape, "zeros_like", module, cos.view(shape));
        cos = ghost::cat(tape, module, std::array<Tensor, 2>{ones, cos}, 2);
        sin = ghost::cat(tape, module, std::array<Tensor, 2>{zeros, sin}, 2);
    }
    LtxRope rope;
    rope.cos = ghost::to_type(tape, module, cos, type);
    rope.sin = ghost::to_type(tape, module, sin, type);
    return rope;
}

LtxRope matrix_rope(Tape& tape, Module module, const Tensor& angles, const LtxRopeShape& shape,
                    ElementType type) {
    const auto wave = [&](std::string_view op) {
        const Tensor wide = ghost::unary(tape, op, module, angles);
        return ghost::to_type(tape, module, wide, type);
    };
    Tensor cos = wave("cos");
    Tensor sin = wave("sin");
    Tensor ones;
    Tensor zeros;
    const std::int64_t half = shape.hidden / 2;
    const Shape& s = angles.shape();
    if (const std::int64_t padding = half - s[2]; padding > 0) {
        ones = ghost::create_like(tape, "ones_like", module, cos.view({s[0], s[1], padding}));
        zeros = ghost::create_like(tape, "zeros_like", module, sin.view({s[0], s[1], padding}));
        cos = ghost::cat(tape, module, std::array<Tensor, 2>{ones, cos}, 2);
        sin = ghost::cat(tape, module, std::array<Tensor, 2>{zeros, sin}, 2);
    }
    const Tensor minus = ghost::unary(tape, "neg", module, sin);
    LtxRope rope;
    rope.split = shape.split;
    rope.rotation = ghost::combine(tape, "stack", module, {&cos, &minus, &sin, &cos},
                                   {s[0], s[1], shape.heads, half / shape.heads, 4}, type);
    return rope;
}

}  // namespace

LtxCoordinates ltx_coordinates(Tape& tape, Module module, std::int64_t batch, const LtxGrid& grid,
                               CausalTime causal) {
    LtxCoordinates out;
    out.latent = latent_corners(tape, module, batch, grid, since_033(tape));
    out.pixel = pixel_corners(tape, module, out.latent, causal);
    return out;
}

Tensor ltx_fractional(Tape& tape, Module module, const Tensor& pixel) {
    Tensor seconds = ghost::to_type(tape, module, pixel, ElementType::Float32);
    const Tensor time = axis_view(seconds);
    const Tensor scaled = ghost::unary(tape, "mul", module, time);
    ghost::binary_in_place(tape, "copy_", module, time, scaled);
    return seconds;
}

LtxRope ltx_rope(Tape& tape, Module module, const Tensor& positions, const LtxRopeShape& shape,
                 ElementType type) {
    const Tensor angles = rope_angles(tape, module, positions, shape);
    if (since_033(tape)) return matrix_rope(tape, module, angles, shape, type);
    return repeated_rope(tape, module, angles, shape.hidden - 2 * angles.shape()[2], type);
}

LtxAttention::LtxAttention(Registry& r, std::string_view path, const LtxAttentionShape& s)
    : path_(r.path(path, "")),
      shape_(s),
      q_norm_(r, r.path(path, "q_norm"), s.heads * s.head_dim),
      k_norm_(r, r.path(path, "k_norm"), s.heads * s.head_dim),
      to_q_(r, r.path(path, "to_q"), s.query_width, s.heads * s.head_dim),
      to_k_(r, r.path(path, "to_k"), s.context_width, s.heads * s.head_dim),
      to_v_(r, r.path(path, "to_v"), s.context_width, s.heads * s.head_dim),
      to_gate_(s.gated ? std::optional<Linear>(std::in_place, r, r.path(path, "to_gate_logits"),
                                               s.query_width, s.heads)
                       : std::nullopt),
      to_out_(r, r.path(path, "to_out.0"), s.heads * s.head_dim, s.query_width) {}

Tensor LtxAttention::gate(Tape& tape, const Tensor& x, const Tensor& out) const {
    const Tensor logits = to_gate_->forward(tape, x);
    const Tensor gates = [&] {
        const Tensor open = ghost::unary(tape, "sigmoid", path_, logits);
        return ghost::unary(tape, "mul", path_, open);
    }();
    return ghost::binary(tape, "mul", path_, out, gates);
}

Tensor LtxAttention::forward(Tape& tape, const Tensor& x, const Given& given) const {
    const Tensor& context = given.context != nullptr ? *given.context : x;
    Tensor q = to_q_.forward(tape, x);
    Tensor k = to_k_.forward(tape, context);
    const Tensor v = to_v_.forward(tape, context);
    q = q_norm_.forward(tape, q);
    k = k_norm_.forward(tape, k);
    if (given.rope != nullptr) {
        q = rotate(tape, path_, q, *given.rope);
        k = rotate(tape, path_, k, given.key_rope != nullptr ? *given.key_rope : *given.rope);
    }
    Tensor out = ghost::attention(tape, path_, q, k, v,
                                  {.batch = x.shape()[0],
                                   .heads = shape_.heads,
                                   .queries = x.shape()[1],
                                   .keys = context.shape()[1],
                                   .head_dim = shape_.head_dim},
                                  given.mask != nullptr ? *given.mask : Tensor())
                     .view(q.shape());
    if (to_gate_) out = gate(tape, x, out);
    return to_out_.forward(tape, out);
}

LtxFeedForward::LtxFeedForward(Registry& r, std::string_view path, std::int64_t width, Bias bias)
    : path_(r.path(path, "")),
      gelu_(r.path(path, "net.0")),
      in_(r, r.path(path, "net.0.proj"), width, kMlpRatio * width, bias),
      out_(r, r.path(path, "net.2"), kMlpRatio * width, width, bias) {}

Tensor LtxFeedForward::forward(Tape& tape, const Tensor& x) const {
    Tensor in = in_.forward(tape, x);
    if (since_033(tape)) {  // one function, whose argument lives on
        const Tensor hidden = ghost::unary(tape, "gelu", path_, in);
        return out_.forward(tape, hidden);
    }
    const Tensor hidden = ghost::unary(tape, "gelu", gelu_, in);
    in = {};
    return out_.forward(tape, hidden);
}

LtxTimestep::LtxTimestep(Registry& r, std::string_view path, std::int64_t width, std::int64_t parts)
    : proj_(r.path(path, "emb.time_proj")),
      emb_(r.path(path, "emb")),
      in_(r, r.path(path, "emb.timestep_embedder.linear_1"), kTimestepWidth, width),
      act_(r.path(path, "emb.timestep_embedder.act")),
      out_(r, r.path(path, "emb.timestep_embedder.linear_2"), width, width),
      silu_(r.path(path, "silu")),
      linear_(r, r.path(path, "linear"), width, parts * width) {}

LtxTimestep::Rows LtxTimestep::forward(Tape& tape, const Tensor& timesteps,
                                       ElementType type) const {
    Rows rows;
    rows.embedded = [&] {
        const Tensor waves = scaled_timestep_embedding(tape, proj_, timesteps, kTimestepWidth);
        const Tensor cast = ghost::to_type(tape, emb_, waves, type);
        Tensor hidden = in_.forward(tape, cast);
        hidden = ghost::unary(tape, "silu", act_, hidden);
        return out_.forward(tape, hidden);
    }();
    const Tensor active = ghost::unary(tape, "silu", silu_, rows.embedded);
    rows.projected = linear_.forward(tape, active);
    return rows;
}

LtxCaption::LtxCaption(Registry& r, std::string_view path, std::int64_t in, std::int64_t width)
    : in_(r, r.path(path, "linear_1"), in, width),
      act_(r.path(path, "act_1")),
      out_(r, r.path(path, "linear_2"), width, width) {}

Tensor LtxCaption::forward(Tape& tape, const Tensor& text) const {
    return finish(tape, in_.forward(tape, text));
}

Tensor LtxCaption::forward_strided(Tape& tape, const Tensor& text) const {
    return finish(tape, in_.forward_rows(tape, text));
}

Tensor LtxCaption::finish(Tape& tape, Tensor hidden) const {
    hidden = ghost::unary(tape, "gelu", act_, hidden);
    return out_.forward(tape, hidden);
}

LtxHead::LtxHead(Registry& r, Module norm, Module projection, std::int64_t width, std::int64_t out)
    : width_(width), norm_(r, norm, width, Affine::No), projection_(r, projection, width, out) {}

Tensor LtxHead::forward(Tape& tape, Module owner, Tensor x, const Tensor& embedded) const {
    constexpr std::int64_t kSets = 2;  // shift, scale
    const Shape& s = embedded.shape();
    const Tensor sum = [&] {
        const Tape::Cast cast = tape.cast_weight({kSets, width_}, owner);
        return ltx_with_own(tape, "add", owner, embedded, kSets * width_,
                            {s[0], s[1], kSets, width_});
    }();
    const Tensor part = ltx_part(sum);
    x = norm_.forward(tape, x);
    x = [&] {
        const Tensor scaled = [&] {
            const Tensor factor = ghost::unary(tape, "add", owner, part);
            return ghost::combine(tape, "mul", owner, {&x, &factor}, x.shape(), x.type());
        }();
        return ghost::combine(tape, "add", owner, {&scaled, &part}, x.shape(), x.type());
    }();
    return projection_.forward(tape, x);
}

Tensor ltx_with_own(Tape& tape, std::string_view op, Module module, const Tensor& x,
                    std::int64_t elements, const Shape& shape) {
    Tensor out = tape.make(shape, x.type(), op, module);
    tape.charge(OpClass::Elementwise, op, module, 0,
                x.bytes() + elements * ghost::element_bytes(x.type()) + out.bytes());
    return out;
}

Tensor ltx_modulated(Tape& tape, Module module, const Tensor& x, const Tensor& scale,
                     const Tensor& shift) {
    const Tensor scaled = [&] {
        const Tensor normal = rms_norm(tape, module, x, Affine::No);
        const Tensor factor = ghost::unary(tape, "add", module, scale);
        return ghost::combine(tape, "mul", module, {&normal, &factor}, x.shape(), x.type());
    }();
    return ghost::combine(tape, "add", module, {&scaled, &shift}, x.shape(), x.type());
}

Tensor ltx_table_sum(Tape& tape, Module module, const Tensor& rows, std::int64_t sets) {
    const Shape& s = rows.shape();
    const std::int64_t width = s.last() / sets;
    const Tape::Cast cast = tape.cast_weight({sets, width}, module);
    return ltx_with_own(tape, "add", module, rows, sets * width, {s[0], s[1], sets, width});
}

Tensor ltx_part(const Tensor& sum) {
    const Shape& s = sum.shape();
    return sum.view({s[0], s[1], s[3]});
}

}  // namespace plimsoll::memory
