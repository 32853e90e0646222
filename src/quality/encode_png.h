// SPDX-License-Identifier: Apache-2.0
//
// An image as the bytes of a PNG of 8 bits a sample.
#pragma once
#include "quality/image.h"

#include <string>

namespace plimsoll::quality {

[[nodiscard]] std::string encode_png(const Image& image);

}  // namespace plimsoll::quality
