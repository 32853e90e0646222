// SPDX-License-Identifier: Apache-2.0
#include "memory/ops.h"

namespace plimsoll::memory {

std::string_view op_class_name(OpClass op_class) {
    constexpr std::array<std::string_view, kOpClasses> kNames = {
        "matmul", "convolution", "attention", "normalization", "elementwise", "copy"};
    return kNames[static_cast<std::size_t>(op_class)];
}

}  // namespace plimsoll::memory
