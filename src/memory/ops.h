// SPDX-License-Identifier: Apache-2.0
//
// OpCosts: what a walk over a network costs, by class of operation, so that `timing` can price each
// class by itself.
#pragma once
#include "base/units.h"

#include <array>
#include <cstdint>
#include <string_view>

namespace plimsoll::memory {

enum class OpClass : std::uint8_t {
    MatMul,
    Convolution,
    Attention,
    Normalization,
    Elementwise,
    Copy
};
inline constexpr std::size_t kOpClasses = 6;
[[nodiscard]] std::string_view op_class_name(OpClass op_class);

struct OpCost {
    std::int64_t flops = 0;        // 2 x MACs of matmul, conv, attention
    std::int64_t bytes_moved = 0;  // input + output bytes of every op that is not a view
    std::int64_t kernels = 0;      // ops that are not views
    std::int64_t scores = 0;       // of attention: elements that the softmax goes over

    OpCost& operator+=(const OpCost& o) {
        flops += o.flops;
        bytes_moved += o.bytes_moved;
        kernels += o.kernels;
        scores += o.scores;
        return *this;
    }
    friend OpCost operator*(OpCost a, std::int64_t k) {
        return {a.flops * k, a.bytes_moved * k, a.kernels * k, a.scores * k};
    }
};

struct OpCosts {
    std::array<OpCost, kOpClasses> by_class{};

    OpCost& operator[](OpClass c) { return by_class[static_cast<std::size_t>(c)]; }
    const OpCost& operator[](OpClass c) const { return by_class[static_cast<std::size_t>(c)]; }
    [[nodiscard]] OpCost total() const {
        OpCost sum;
        for (const auto& cost : by_class) sum += cost;
        return sum;
    }
};

}  // namespace plimsoll::memory
