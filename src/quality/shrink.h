// SPDX-License-Identifier: Apache-2.0
//
// A picture at a smaller size, for pages and reports. Measures read the full size, never this one.
//
// Threads: no shared state.
#pragma once
#include "quality/image.h"

namespace plimsoll::quality {

// The mean of the pixels under each new one, so that its longer side is `side_max` (at least 1). A
// picture that is no larger is returned as it is.
[[nodiscard]] Image shrunk(const Image& image, int side_max);

}  // namespace plimsoll::quality
