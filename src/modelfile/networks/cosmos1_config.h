// SPDX-License-Identifier: Apache-2.0
//
// Cosmos-1 (NVIDIA 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct Cosmos1Config {
    int in_channels = 16;  // of the latent, beside which a mask is put
    int out_channels = 16;
    int patch_spatial = 2;
    int model_channels = 4096;
    int num_blocks = 28;
    int num_heads = 32;
    double mlp_ratio = 4;
    int crossattn_emb_channels = 1024;
    int adaln_lora_dim = 256;
    int max_img_h = 240;  // cells, for which there are learned positions
    int max_img_w = 240;
    int max_frames = 128;
};
BOOST_DESCRIBE_STRUCT(Cosmos1Config, (),
                      (in_channels, out_channels, patch_spatial, model_channels, num_blocks,
                       num_heads, mlp_ratio, crossattn_emb_channels, adaln_lora_dim, max_img_h,
                       max_img_w, max_frames))

}  // namespace plimsoll::modelfile
