// SPDX-License-Identifier: Apache-2.0
#include "memory/ghost/tape.h"

#include <algorithm>
#include <limits>

namespace plimsoll::memory::ghost {

namespace {
// A sum over all classes of operations must fit too, hence the margin.
constexpr std::int64_t kCeiling = std::numeric_limits<std::int64_t>::max() / 16;

std::int64_t saturating_sum(std::int64_t a, std::int64_t b) {
    return a > kCeiling - b ? kCeiling : a + b;
}
}  // namespace

std::int64_t saturating_product(std::initializer_list<std::int64_t> factors) {
    std::int64_t product = 1;
    for (const std::int64_t factor : factors) {
        if (__builtin_mul_overflow(product, factor, &product) || product > kCeiling)
            return kCeiling;
    }
    return product;
}

Tensor Tape::make_temporary(std::int64_t bytes, std::string_view op, const std::string* module) {
    Tensor temporary = make({bytes}, ElementType::Opaque, op, module);
    if (!options_.casts_included) heap_.hide(temporary.slot());
    return temporary;
}

Tape::Cast Tape::cast_weight(const Shape& shape, const std::string* module) {
    return cast_weight(shape, module, options_.storage);
}

Tape::Cast Tape::cast_weight(const Shape& shape, const std::string* module, ElementType stored) {
    if (stored == options_.compute) return {};
    return copy_weight(shape, stored, options_.compute, "_to_copy", module);
}

Tape::Cast Tape::clone_weight(const Shape& shape, const std::string* module) {
    return copy_weight(shape, options_.storage, options_.storage, "clone", module);
}

Tape::Cast Tape::copy_weight(const Shape& shape, ElementType from, ElementType to,
                             std::string_view op, const std::string* module) {
    const std::int64_t elements = shape.elements();
    const std::int64_t bytes = elements * element_bytes(to);
    Tensor block;
    std::int64_t apart = 0;
    if (options_.casts_included) {
        block = make(shape, to, op, module);
    } else {
        block = {heap_, heap_.allocate_apart(shape, to, Label{op, module, scope_}), shape, to};
        apart = Heap::round_up(bytes);
        cast_live_ += apart;
        max_cast_ = std::max(max_cast_, cast_live_);
    }
    charge(OpClass::Copy, op, module, 0, elements * element_bytes(from) + bytes);
    return {*this, apart, std::move(block)};
}

void Tape::charge(OpClass op_class, std::string_view op, const std::string* module,
                  std::int64_t flops, std::int64_t bytes_moved, std::int64_t kernels) {
    OpCost& cost = costs_[op_class];
    cost.flops = saturating_sum(cost.flops, flops);
    cost.bytes_moved = saturating_sum(cost.bytes_moved, std::min(bytes_moved, kCeiling));
    cost.kernels += kernels;
    if (options_.observer != nullptr)
        (*options_.observer)({{op, module, scope_}, heap_.live_bytes(), bytes_moved});
}

void Tape::charge_scores(std::int64_t scores) {
    OpCost& cost = costs_[OpClass::Attention];
    cost.scores = saturating_sum(cost.scores, scores);
}

}  // namespace plimsoll::memory::ghost
