// SPDX-License-Identifier: Apache-2.0
//
// MMDiT (Esser et al. 2024), the network of Stable Diffusion 3 and 3.5. Members have the names of
// ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>
#include <vector>

namespace plimsoll::modelfile {

// The Linear layer that takes the text, as sizes.
struct MmditContextParams {
    int in_features = 4096;
    int out_features = 1536;
};
BOOST_DESCRIBE_STRUCT(MmditContextParams, (), (in_features, out_features))

struct MmditContextEmbedder {
    MmditContextParams params;
};
BOOST_DESCRIBE_STRUCT(MmditContextEmbedder, (), (params))

struct MmditConfig {
    int in_channels = 16;  // of the latent, in and out
    int patch_size = 2;
    int depth = 24;  // blocks, heads, and the width in heads of 64
    double mlp_ratio = 4.0;
    int adm_in_channels = 2048;  // of the pooled text; 0: none
    MmditContextEmbedder context_embedder_config;
    std::string qk_norm;           // "rms", or empty: none
    int pos_embed_max_size = 192;  // rows and columns of the stored table, in patches
    std::vector<int>
        x_block_self_attn_layers;  // blocks whose image tokens attend to themselves too
};
BOOST_DESCRIBE_STRUCT(MmditConfig, (),
                      (in_channels, patch_size, depth, mlp_ratio, adm_in_channels,
                       context_embedder_config, qk_norm, pos_embed_max_size,
                       x_block_self_attn_layers))

}  // namespace plimsoll::modelfile
