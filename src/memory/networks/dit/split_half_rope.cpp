// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/split_half_rope.h"

namespace plimsoll::memory {

Tensor apply_rope_split_half(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &table}, x.shape(), x.type());
    const Tensor rotated = [&] {
        const Tensor sum = [&] {
            const Tensor wide = ghost::to_type(tape, module, x, table.type());
            const Tensor column = table.view({table.elements() / 2});
            const Tensor half = wide.view({wide.elements() / 2});
            const auto product = [&] {
                return ghost::combine(tape, "mul", module, {&column, &half}, x.shape(),
                                      table.type());
            };
            const Tensor first = product();
            const Tensor second = product();
            return ghost::binary(tape, "add", module, first, second);
        }();
        // Pairs lie next to each other: the halves are put apart again.
        return ghost::clone(tape, module, sum, x.shape());
    }();
    return ghost::to_type(tape, module, rotated, x.type());
}

Tensor normalise_and_rotate(Tape& tape, Module module, const Tensor& x, const Tensor& table) {
    if (tape.options().fused_rope)
        return ghost::combine(tape, "rope", module, {&x, &table}, x.shape(), x.type());
    const Tensor normal = rms_norm(tape, module, x, Affine::Yes);
    return apply_rope_split_half(tape, module, normal, table);
}

}  // namespace plimsoll::memory
