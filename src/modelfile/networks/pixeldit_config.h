// SPDX-License-Identifier: Apache-2.0
//
// PixelDiT (2025), text to image. Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct PixelDitConfig {
    int in_channels = 3;
    int num_groups = 24;  // heads over the patches
    int hidden_size = 1536;
    int pixel_hidden_size = 16;
    int pixel_attn_hidden_size = 1152;
    int pixel_num_groups = 16;
    int patch_depth = 14;
    int pixel_depth = 2;
    int patch_size = 16;
    int txt_embed_dim = 2304;
    int txt_max_length = 300;
    bool use_text_rope = true;
    bool use_pixel_abs_pos = true;
};
BOOST_DESCRIBE_STRUCT(PixelDitConfig, (),
                      (in_channels, num_groups, hidden_size, pixel_hidden_size,
                       pixel_attn_hidden_size, pixel_num_groups, patch_depth, pixel_depth,
                       patch_size, txt_embed_dim, txt_max_length, use_text_rope, use_pixel_abs_pos))

}  // namespace plimsoll::modelfile
