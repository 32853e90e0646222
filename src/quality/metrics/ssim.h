// SPDX-License-Identifier: Apache-2.0
//
// SSIM (Wang, Bovik, Sheikh, Simoncelli 2004) and MS-SSIM (Wang, Simoncelli, Bovik 2003) on luma: a
// Gaussian window of 11 x 11 pixels, sigma 1.5, where it lies wholly inside the picture.
#pragma once
#include "quality/image.h"

#include <span>

namespace plimsoll::quality {

inline constexpr int kSsimSideLeast = 11;     // the window
inline constexpr int kMsSsimSideLeast = 176;  // the window at the fifth scale: 11 * 2^4

// Means over all windows. Contrast and structure is SSIM without its term of the means.
struct SsimMeans {
    double ssim = 0;
    double contrast_structure = 0;
};
// Two planes of one size, each side at least kSsimSideLeast.
[[nodiscard]] SsimMeans ssim_means(const Plane& a, const Plane& b);

// From the means of five scales, the largest first.
[[nodiscard]] double ms_ssim(std::span<const SsimMeans, 5> scales);

}  // namespace plimsoll::quality
