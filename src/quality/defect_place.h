// SPDX-License-Identifier: Apache-2.0
//
// Where a picture shows what it lost for: the part of it with the most noise, the least of its
// reference's detail, the most burnt pixels, the clearest grid, or the greatest difference.
//
// Threads: no shared state.
#pragma once
#include "quality/image.h"

#include <optional>
#include <string_view>

namespace plimsoll::quality {

// What can be looked for: the defects of lab/marks.h, and that it differs from its reference.
inline constexpr std::string_view kDifference = "difference";

struct DefectPlace {
    int x = 0;  // pixels of the candidate, from the left and the top
    int y = 0;
    int width = 0;
    int height = 0;
    // How much of the defect is there and in the same place of the reference, in the defect's own
    // unit: levels of 255 (noise, blur, grid), a share (burn), HaarPSI's loss (difference).
    double here = 0;
    std::optional<double> in_reference;
};

// Of pictures of two sizes the candidate is looked at alone, for all but blur and the difference,
// which need both. None when there is nothing of it, nothing known of the name, or under 32 x 32
// pixels.
[[nodiscard]] std::optional<DefectPlace> find_defect(const Image& reference, const Image& candidate,
                                                     std::string_view defect);
inline constexpr int kPlaceSideLeast = 32;

}  // namespace plimsoll::quality
