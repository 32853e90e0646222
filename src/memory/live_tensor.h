// SPDX-License-Identifier: Apache-2.0
#pragma once
#include "base/units.h"

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::memory {

// One of the tensors that make a peak: what an explanation names.
struct LiveTensor {
    Bytes bytes;
    std::vector<std::int64_t> shape;
    std::string dtype;
    std::string op;
    std::string module;
};

}  // namespace plimsoll::memory
