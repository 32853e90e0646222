// SPDX-License-Identifier: Apache-2.0
//
// HunyuanVideo (Kong et al. 2024), HunyuanImage 2.1 and HunyuanVideo 1.5 (Tencent 2025). Members
// have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct HunyuanVideoConfig {
    int in_channels = 16;  // of the latent, with an image beside it where that is refined
    int out_channels = 16;
    std::vector<int> patch_size = {1, 2, 2};  // frames, rows, columns; images: rows, columns
    int hidden_size = 3072;
    int num_heads = 24;
    double mlp_ratio = 4.0;
    int depth = 20;
    int depth_single_blocks = 40;
    int context_in_dim = 4096;
    int vec_in_dim = 768;  // 0: no pooled text
    bool qkv_bias = true;
    bool guidance_embed = true;
    std::vector<int> axes_dim = {16, 56, 56};
    bool byt5 = false;                     // takes a second text, of glyphs
    bool meanflow = false;                 // takes the next step's time too
    bool meanflow_sum = false;             // adds the next step's time rather than taking the mean
    bool use_cond_type_embedding = false;  // tells the kinds of tokens beside the image's apart
    int vision_in_dim = 0;                 // of the tokens that describe a first image; 0: none
};
BOOST_DESCRIBE_STRUCT(HunyuanVideoConfig, (),
                      (in_channels, out_channels, patch_size, hidden_size, num_heads, mlp_ratio,
                       depth, depth_single_blocks, context_in_dim, vec_in_dim, qkv_bias,
                       guidance_embed, axes_dim, byt5, meanflow, meanflow_sum,
                       use_cond_type_embedding, vision_in_dim))

}  // namespace plimsoll::modelfile
