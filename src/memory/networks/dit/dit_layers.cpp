// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/dit_layers.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

using ghost::ElementType;

namespace {

std::int64_t whole(std::int64_t length, std::int64_t patch) {
    return (length + patch - 1) / patch * patch;
}

}  // namespace

Tensor pad_to_patches(Tape& tape, Module module, const Tensor& x, std::int64_t patch) {
    Shape padded = x.shape();
    for (std::size_t i = padded.rank() - 2; i < padded.rank(); ++i)
        padded = padded.with(i, whole(padded[i], patch));
    Tensor out = tape.make(padded, x.type(), "new_empty", module);
    tape.charge(OpClass::Copy, "new_empty", module, 0, 0, 0);
    ghost::binary_in_place(tape, "copy_", module, x, x);
    return out;
}

Tensor to_tokens(Tape& tape, Module module, const Tensor& x, std::int64_t patch) {
    const Shape& s = x.shape();
    const std::int64_t rows = s[2] / patch;
    const std::int64_t columns = s[3] / patch;
    if (patch == 1) return x.view({s[0], rows * columns, s[1]});
    return ghost::clone(tape, module, x, {s[0], rows, columns, s[1], patch, patch})
        .view({s[0], rows * columns, s[1] * patch * patch});
}

Tensor from_tokens(Tape& tape, Module module, const Tensor& tokens, std::int64_t channels,
                   std::int64_t rows, std::int64_t columns, std::int64_t patch) {
    const std::int64_t batch = tokens.shape()[0];
    if (patch == 1) return tokens.view({batch, channels, rows, columns});
    return ghost::produce(tape, OpClass::Copy, "clone", module, tokens,
                          {batch, channels, rows, patch, columns, patch}, tokens.type())
        .view({batch, channels, rows * patch, columns * patch});
}

namespace {

// One axis: [N, tokens, dim / 2, 2, 2] in fp32.
Tensor rope_axis(Tape& tape, Module module, const Tensor& ids, std::int64_t dim) {
    const Shape& s = ids.shape();
    const std::int64_t pairs = dim / 2;
    const Tensor scale = ghost::create(tape, "linspace", module, {pairs}, ElementType::Float64);
    const Tensor omega = [&] {
        const Tensor power = ghost::unary(tape, "pow", module, scale);
        const Tensor inverse = ghost::unary(tape, "reciprocal", module, power);
        return ghost::unary(tape, "mul", module, inverse);
    }();
    Tensor angles = [&] {
        const Tensor positions =
            ghost::to_type(tape, module, ids.view({s[0], s[1]}), ElementType::Float32);
        return ghost::combine(tape, "mul", module, {&positions, &omega}, {s[0], s[1], pairs},
                              ElementType::Float64);
    }();
    const Shape rotations{s[0], s[1], pairs, 2, 2};
    const Tensor table = [&] {
        const Tensor cos = ghost::unary(tape, "cos", module, angles);
        const Tensor minus_sin =
            ghost::unary(tape, "neg", module, ghost::unary(tape, "sin", module, angles));
        const Tensor sin = ghost::unary(tape, "sin", module, angles);
        const Tensor cos_again = ghost::unary(tape, "cos", module, angles);
        return ghost::combine(tape, "stack", module, {&cos, &minus_sin, &sin, &cos_again},
                              {s[0], s[1], pairs, 4}, ElementType::Float64)
            .view(rotations);
    }();
    angles = {};
    return ghost::to_type(tape, module, table, ElementType::Float32);
}

}  // namespace

Tensor rope_table(Tape& tape, Module module, const Tensor& ids, std::span<const int> axes_dim) {
    std::vector<Tensor> axes;
    axes.reserve(axes_dim.size());
    for (const int dim : axes_dim) axes.push_back(rope_axis(tape, module, ids, dim));
    return ghost::cat(tape, module, axes, 2);
}

namespace {

// Both halves of each pair times their column of the rotations.
Tensor rotate(Tape& tape, Module module, const Tensor& wide, const Tensor& table,
              ElementType type) {
    const Shape& s = wide.shape();
    const Shape pairs =
        s.rank() == 3 ? Shape{s[0], s[1], s[2] / 2, 2} : Shape{s[0], s[1], s[2], s[3] / 2, 2};
    const Tensor column = table.view({table.shape()[0], table.shape()[1], table.shape()[2], 2});
    const Tensor half = wide.view(pairs.with(pairs.rank() - 1, 1));
    const auto product = [&] {
        return ghost::combine(tape, "mul", module, {&column, &half}, pairs, table.type());
    };
    Tensor sum = product();
    if (since_033(tape)) {
        ghost::combine_in_place(tape, "addcmul_", module, sum, {&column, &half});
    } else {
        const Tensor second = product();
        sum = ghost::binary(tape, "add", module, sum, second);
    }
    return ghost::to_type(tape, module, sum.view(s), type);
}

}  // namespace

Rotated apply_rope(Tape& tape, Module module, Tensor q, Tensor k, const Tensor& table) {
    Rotated rotated;
    if (tape.options().fused_rope) {
        rotated.q = ghost::combine(tape, "rope", module, {&q, &table}, q.shape(), q.type());
        rotated.k = ghost::combine(tape, "rope", module, {&k, &table}, k.shape(), k.type());
        return rotated;
    }
    const auto widen = [&](Tensor& x) {
        Tensor wide = ghost::to_type(tape, module, x, table.type());
        x = {};
        return wide;
    };
    const ElementType type = q.type();
    Tensor wide_q = widen(q);
    if (since_033(tape)) {
        rotated.q = rotate(tape, module, wide_q, table, type);
        wide_q = {};
    }
    const Tensor wide_k = widen(k);
    if (wide_q.defined()) {
        rotated.q = rotate(tape, module, wide_q, table, type);
        wide_q = {};
    }
    rotated.k = rotate(tape, module, wide_k, table, type);
    return rotated;
}

Tensor apply_rope(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &table}, x.shape(), x.type());
    const Tensor wide = ghost::to_type(tape, module, x, table.type());
    return rotate(tape, module, wide, table, x.type());
}

Tensor apply_rope_narrow(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    return rotate(tape, module, x, table, x.type());
}

Tensor without_infinities(Tape& tape, Module module, const Tensor& x) {
    return x.type() == ElementType::Float16 ? ghost::unary(tape, "nan_to_num", module, x) : x;
}

Tensor scaled(Tape& tape, Module module, const Tensor& x, const Tensor& scale) {
    const Tensor factor = ghost::unary(tape, "add", module, scale);
    return ghost::binary(tape, "mul", module, x, factor);
}

Tensor modulate(Tape& tape, Module module, const Tensor& x, const Tensor& scale,
                const Tensor& shift) {
    const Tensor factor = ghost::unary(tape, "add", module, scale);
    return ghost::combine(tape, "addcmul", module, {&shift, &x, &factor}, x.shape(), x.type());
}

Tensor scaled_timestep_embedding(Tape& tape, Module module, const Tensor& timesteps,
                                 std::int64_t width) {
    const std::int64_t half = width / 2;
    Tensor exponent = ghost::create(tape, "arange", module, {half}, ElementType::Float32);
    exponent = ghost::unary(tape, "mul", module, exponent);
    exponent = ghost::unary(tape, "div", module, exponent);
    Tensor angles = ghost::unary(tape, "exp", module, exponent);
    angles = ghost::combine(tape, "mul", module, {&timesteps, &angles},
                            {timesteps.elements(), half}, ElementType::Float32);
    angles = ghost::unary(tape, "mul", module, angles);
    angles = [&] {
        const std::array<Tensor, 2> both = {ghost::unary(tape, "sin", module, angles),
                                            ghost::unary(tape, "cos", module, angles)};
        return ghost::cat(tape, module, both, 1);
    }();
    const Tensor side = angles.view({timesteps.elements(), half});
    return ghost::cat(tape, module, std::array<Tensor, 2>{side, side}, 1);
}

MlpEmbedder::MlpEmbedder(Registry& registry, std::string_view path, std::int64_t in,
                         std::int64_t hidden, Bias bias, const MlpNames& names)
    : path_(registry.path(path, "")),
      in_(registry, registry.path(path, names.in), in, hidden, bias),
      act_(registry.path(path, names.act)),
      out_(registry, registry.path(path, names.out), hidden, hidden, bias) {}

Tensor MlpEmbedder::forward(Tape& tape, const Tensor& x) const {
    const Tensor hidden = [&] {
        const Tensor first = in_.forward(tape, x);
        return ghost::unary(tape, "silu", act_, first);
    }();
    return out_.forward(tape, hidden);
}

}  // namespace plimsoll::memory
