// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/decoder_rope.h"

#include <array>

namespace plimsoll::memory {

using ghost::ElementType;

DecoderRope make_rope(Tape& tape, Module module, const Tensor& positions, std::int64_t head_dim,
                      Stretched stretched) {
    const std::int64_t half = head_dim / 2;
    const std::int64_t tokens = positions.elements();
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, module, x);
    };
    const Tensor numerator = [&] {
        const Tensor even = ghost::create(tape, "arange", module, {half}, ElementType::Int64);
        return ghost::to_type(tape, module, even, ElementType::Float32);
    }();
    const Tensor inverse = [&] {
        Tensor exponent = unary("div", numerator);
        const Tensor power = unary("pow", exponent);
        exponent = {};
        const Tensor reciprocal = unary("reciprocal", power);
        return unary("mul", reciprocal);
    }();
    if (stretched == Stretched::Yes) ghost::unary_in_place(tape, "div_", module, inverse);
    const Tensor wide = ghost::to_type(tape, module, positions, ElementType::Float32);
    const Tensor angles = tape.make({1, half, tokens}, ElementType::Float32, "bmm", module);
    tape.charge(OpClass::MatMul, "bmm", module, 2 * half * tokens,
                inverse.bytes() + wide.bytes() + angles.bytes());
    const std::array<Tensor, 2> twice = {angles, angles};
    const Tensor all = ghost::cat(tape, module, twice, 1).view({1, tokens, 2 * half});
    DecoderRope rope;
    rope.cos = unary("cos", all);
    rope.sin = unary("sin", all);
    if (since_033(tape)) rope.negated_sin = unary("neg", rope.sin.view({1, tokens, half}));
    return rope;
}

Tensor rotate(Tape& tape, Module module, const Tensor& x, const DecoderRope& rope) {
    const Shape& s = x.shape();
    const auto times = [&](const Tensor& a, const Tensor& table) {
        return ghost::combine(tape, "mul", module, {&a, &table}, s, table.type());
    };
    Tensor straight = times(x, rope.cos);
    const Shape half = s.with_last(s.last() / 2);
    if (since_033(tape)) {
        // Each half of the channels gets the other's product with the sine, in place.
        const Tensor part = x.view(half);
        for (int i = 0; i < 2; ++i) {
            tape.charge(OpClass::Elementwise, "addcmul_", module, 0,
                        3 * part.bytes() + rope.negated_sin.bytes());
        }
        return straight;
    }
    const Tensor crossed = [&] {
        const Tensor turned = [&] {
            const Tensor part = x.view(half);
            const std::array<Tensor, 2> halves = {ghost::unary(tape, "neg", module, part), part};
            return ghost::cat(tape, module, halves, half.rank() - 1);
        }();
        return times(turned, rope.sin);
    }();
    return ghost::binary(tape, "add", module, straight, crossed);
}

}  // namespace plimsoll::memory
