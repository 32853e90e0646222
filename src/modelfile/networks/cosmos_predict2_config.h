// SPDX-License-Identifier: Apache-2.0
//
// Cosmos-Predict2 (NVIDIA 2025) and Anima, which adds an adapter for its language model. Members
// have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>

namespace plimsoll::modelfile {

struct CosmosPredict2Config {
    std::string image_model = "cosmos_predict2";  // or "anima"
    int in_channels = 16;   // that the network takes: the latent's, and a mask's for image to video
    int out_channels = 16;  // of the latent
    int patch_spatial = 2;
    int patch_temporal = 1;
    int model_channels = 2048;
    int num_blocks = 28;
    int num_heads = 16;
    double mlp_ratio = 4.0;
    int crossattn_emb_channels = 1024;
    bool concat_padding_mask = true;
    bool use_adaln_lora = true;
    int adaln_lora_dim = 256;
    bool extra_per_block_abs_pos_emb = false;
    std::string pos_emb_cls = "rope3d";
};
BOOST_DESCRIBE_STRUCT(CosmosPredict2Config, (),
                      (image_model, in_channels, out_channels, patch_spatial, patch_temporal,
                       model_channels, num_blocks, num_heads, mlp_ratio, crossattn_emb_channels,
                       concat_padding_mask, use_adaln_lora, adaln_lora_dim,
                       extra_per_block_abs_pos_emb, pos_emb_cls))

}  // namespace plimsoll::modelfile
