// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of Wan 2.1 (also of Qwen-Image) and Wan 2.2 5B. Members have the names of ComfyUI's
// constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <array>

namespace plimsoll::modelfile {

struct WanVaeConfig {
    int dim = 96;      // channels of the encoder's first level
    int dec_dim = 96;  // and of the decoder's
    int z_dim = 16;
    std::array<int, 4> dim_mult = {1, 2, 4, 4};
    int num_res_blocks = 2;
    std::array<int, 3> temperal_downsample = {0, 1, 1};  // ComfyUI's spelling; 1: halves frames too
    int patch_size = 1;          // pixels that are folded into channels beforehand, each way
    bool avg_shortcuts = false;  // around every level (Wan 2.2)
    int image_channels = 3;      // that are encoded; with transparency 4
    int conv_out_channels = 3;   // that are decoded
};
BOOST_DESCRIBE_STRUCT(WanVaeConfig, (),
                      (dim, dec_dim, z_dim, dim_mult, num_res_blocks, temperal_downsample,
                       patch_size, avg_shortcuts, image_channels, conv_out_channels))

}  // namespace plimsoll::modelfile
