// SPDX-License-Identifier: Apache-2.0
//
// PixArt-Sigma (Chen et al. 2024). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct PixArtConfig {
    int in_channels = 4;  // of the latent; the network gives twice as many, half of which is used
    int patch_size = 2;
    int hidden_size = 1152;
    int depth = 28;
    int num_heads = 16;
    double mlp_ratio = 4.0;
    int caption_channels = 4096;
    int model_max_length = 300;  // tokens of the stored empty caption
    bool pred_sigma = true;
    bool micro_condition = false;  // embeddings of size and aspect ratio
    bool qk_norm = false;
};
BOOST_DESCRIBE_STRUCT(PixArtConfig, (),
                      (in_channels, patch_size, hidden_size, depth, num_heads, mlp_ratio,
                       caption_channels, model_max_length, pred_sigma, micro_condition, qk_norm))

}  // namespace plimsoll::modelfile
