// SPDX-License-Identifier: Apache-2.0
//
// How much fine detail a picture has. It depends on what the picture shows: only the ratio to the
// same picture made at another setting says something, and only per unit of contrast.
#pragma once
#include "quality/image.h"

#include <optional>

namespace plimsoll::quality {

struct Sharpness {
    double laplacian_variance = 0;  // of the 4-neighbour Laplacian
    double tenengrad = 0;           // mean squared gradient by Sobel's kernels
    double luma_variance = 0;

    // Per unit of the picture's variance; none of a picture of one level.
    [[nodiscard]] std::optional<double> for_contrast() const;
    [[nodiscard]] std::optional<double> edges_for_contrast() const;
};
inline constexpr int kSharpnessSideLeast = 3;
[[nodiscard]] Sharpness measure_sharpness(const Plane& whole_luma);

// Below 1: the candidate is blurred. None when either has no detail or no contrast at all.
[[nodiscard]] std::optional<double> sharpness_ratio(const Sharpness& reference,
                                                    const Sharpness& candidate);

}  // namespace plimsoll::quality
