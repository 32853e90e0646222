// SPDX-License-Identifier: Apache-2.0
#include "memory/ghost/tape.h"

#include <algorithm>

namespace plimsoll::memory::ghost {

Tensor Tape::make_temporary(std::int64_t bytes, std::string_view op, const std::string* module) {
    Tensor temporary = make({bytes}, ElementType::Opaque, op, module);
    if (!options_.casts_included) heap_.hide(temporary.slot());
    return temporary;
}

Tape::Cast Tape::cast_weight(const Shape& shape, const std::string* module) {
    if (!casts_weights()) return {};
    const std::int64_t elements = shape.elements();
    const std::int64_t bytes = elements * element_bytes(options_.compute);
    Tensor block;
    std::int64_t apart = 0;
    if (options_.casts_included) {
        block = make(shape, options_.compute, "_to_copy", module);
    } else {
        apart = Heap::round_up(bytes);
        cast_live_ += apart;
        max_cast_ = std::max(max_cast_, cast_live_);
    }
    charge(OpClass::Copy, "_to_copy", module, 0,
           elements * element_bytes(options_.storage) + bytes);
    return {*this, apart, std::move(block)};
}

void Tape::charge(OpClass op_class, std::string_view op, const std::string* module,
                  std::int64_t flops, std::int64_t bytes_moved, std::int64_t kernels) {
    costs_[op_class] += OpCost{flops, bytes_moved, kernels};
    if (observer_) observer_({{op, module, scope_}, heap_.live_bytes(), bytes_moved});
}

}  // namespace plimsoll::memory::ghost
