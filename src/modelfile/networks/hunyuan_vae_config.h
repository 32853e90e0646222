// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of HunyuanVideo (Kong et al. 2024), and those of HunyuanImage 2.1 and HunyuanVideo 1.5
// (Tencent 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

// AutoencoderKL with convolutions over time.
struct HunyuanVideoVaeConfig {
    bool double_z = true;
    int z_channels = 16;
    int in_channels = 3;
    int out_ch = 3;
    int ch = 128;
    std::vector<int> ch_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    std::vector<int> attn_resolutions;
    bool conv3d = true;
    int time_compress = 4;  // pixel frames to one latent frame, a power of two
};
BOOST_DESCRIBE_STRUCT(HunyuanVideoVaeConfig, (),
                      (double_z, z_channels, in_channels, out_ch, ch, ch_mult, num_res_blocks,
                       attn_resolutions, conv3d, time_compress))

// Resolution is traded for channels, with shortcuts that have no weights.
struct PixelVaeConfig {
    int in_channels = 3;
    int out_channels = 3;
    int z_channels = 64;
    std::vector<int> block_out_channels = {128, 256, 512, 512, 1024, 1024};
    int num_res_blocks = 2;
    int ffactor_spatial = 32;
    int ffactor_temporal = 0;  // 0: images
    bool downsample_match_channel = true;
    bool upsample_match_channel = true;
    bool refiner_vae = true;  // of videos: causal in time, frame after frame
};
BOOST_DESCRIBE_STRUCT(PixelVaeConfig, (),
                      (in_channels, out_channels, z_channels, block_out_channels, num_res_blocks,
                       ffactor_spatial, ffactor_temporal, downsample_match_channel,
                       upsample_match_channel, refiner_vae))

}  // namespace plimsoll::modelfile
