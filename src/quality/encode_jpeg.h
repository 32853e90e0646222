// SPDX-License-Identifier: Apache-2.0
//
// An image as the bytes of a JPEG, for pages and reports: a tenth of a PNG's.
#pragma once
#include "quality/image.h"

#include <string>

namespace plimsoll::quality {

// `quality` is libjpeg's, 1 to 100. Both sides of the image at most 65 500 pixels, JPEG's own.
[[nodiscard]] std::string encode_jpeg(const Image& image, int quality);

}  // namespace plimsoll::quality
