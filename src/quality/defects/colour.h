// SPDX-License-Identifier: Apache-2.0
//
// What too much guidance does to colours and tones ("burn"): clipped channels, saturation, strong
// chroma, contrast; and how colourful a picture is. None is a fault by itself, since a style may
// want it: they are held against pictures of the same prompt and seed.
#pragma once
#include "quality/image.h"

namespace plimsoll::quality {

struct ColourStatistics {
    double clipped_share = 0;    // pixels with a channel below 1 or from 254 on
    double saturation = 0;       // mean of HSV's S
    double saturated_share = 0;  // pixels with S above 0.95 and V above 0.3
    double chroma95 = 0;         // 95th percentile of CIELAB's chroma, D65
    double colourfulness = 0;    // Hasler and Suesstrunk 2003
};
[[nodiscard]] ColourStatistics measure_colour(const Image& image);

struct ToneStatistics {
    double contrast = 0;  // standard deviation of luma by 255
    double entropy = 0;   // of the 256 levels of luma, in bits
};
[[nodiscard]] ToneStatistics measure_tones(const Plane& whole_luma);

}  // namespace plimsoll::quality
