// SPDX-License-Identifier: Apache-2.0
//
// The latent upsampler of LTX-Video and LTX-2 (Lightricks 2025). Members have the names of its
// configuration, which the files carry in their metadata.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct LatentUpscalerConfig {
    int in_channels = 128;
    int mid_channels = 512;
    int num_blocks_per_stage = 4;
    int dims = 3;  // of the convolutions: 3, or 2 for frames by themselves
    bool spatial_upsample = true;
    bool temporal_upsample = false;
    // Scales by a fraction: up by a whole number, then a blur with a stride.
    bool rational_resampler = false;
    double spatial_scale = 2.0;
};
BOOST_DESCRIBE_STRUCT(LatentUpscalerConfig, (),
                      (in_channels, mid_channels, num_blocks_per_stage, dims, spatial_upsample,
                       temporal_upsample, rational_resampler, spatial_scale))

}  // namespace plimsoll::modelfile
