// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/word_choice.h"

namespace plimsoll::memory {

using ghost::ElementType;

Tensor score_words(Tape& tape, Module module, const Tensor& x, std::int64_t words,
                   bool kept_in_16_bit) {
    const std::int64_t batch = x.shape()[0];
    const std::int64_t width = x.shape().last();
    const Tape::Cast table =
        kept_in_16_bit ? Tape::Cast{} : tape.cast_weight({words, width}, module);
    Tensor scores = tape.make({batch, 1, words}, x.type(), "mm", module);
    tape.charge(OpClass::MatMul, "mm", module, 2 * batch * words * width,
                words * width * ghost::element_bytes(x.type()) + scores.bytes());
    return scores;
}

void choose_word(Tape& tape, Module module, const Tensor& scores) {
    const auto unary = [&](std::string_view op, const Tensor& x) {
        return ghost::unary(tape, op, module, x);
    };
    const Tensor cooled = unary("div", scores.view({1, 1, scores.shape().last()}));
    {
        const Tensor likeliest = unary("softmax", cooled);
    }
    {
        const Tensor sorted = unary("sort", cooled);
        const Tensor order = ghost::produce(tape, OpClass::Copy, "sort", module, cooled,
                                            cooled.shape(), ElementType::Int64);
        const Tensor chances = unary("softmax", sorted);
        const Tensor sum = unary("cumsum", chances);
    }
    const Tensor chances = unary("softmax", cooled);
    ghost::unary_in_place(tape, "multinomial", module, chances);
}

}  // namespace plimsoll::memory
