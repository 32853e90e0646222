// SPDX-License-Identifier: Apache-2.0
//
// Chroma Radiance (2025): Chroma without a VAE. Members have the names of ComfyUI's constructor
// arguments.
#pragma once
#include "modelfile/networks/chroma_config.h"

#include <boost/describe/class.hpp>

#include <optional>
#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct ChromaRadianceConfig {
    int in_channels = 3;
    int out_channels = 3;
    int patch_size = 16;
    int hidden_size = 3072;
    int num_heads = 24;
    double mlp_ratio = 4.0;
    int depth = 19;
    int depth_single_blocks = 38;
    int context_in_dim = 4096;
    bool qkv_bias = true;
    std::vector<int> axes_dim = {16, 56, 56};
    int in_dim = 64;
    int hidden_dim = 5120;
    int out_dim = 3072;
    int n_layers = 5;
    // Of the head that makes pixels of each patch.
    int nerf_hidden_size = 64;
    int nerf_mlp_ratio = 4;
    int nerf_depth = 4;
    int nerf_max_freqs = 8;
    int nerf_tile_size = 512;  // patches at a time; 0: all
    std::string nerf_final_head_type = "conv";
    std::optional<std::string> nerf_embedder_dtype;  // as PyTorch prints it; none: the network's
    bool use_x0 = false;
    bool use_sequential_txt_ids = false;

    // What it has in common with Chroma.
    [[nodiscard]] ChromaConfig base() const {
        return {.in_channels = in_channels,
                .out_channels = out_channels,
                .patch_size = patch_size,
                .hidden_size = hidden_size,
                .num_heads = num_heads,
                .mlp_ratio = mlp_ratio,
                .depth = depth,
                .depth_single_blocks = depth_single_blocks,
                .context_in_dim = context_in_dim,
                .qkv_bias = qkv_bias,
                .axes_dim = axes_dim,
                .in_dim = in_dim,
                .hidden_dim = hidden_dim,
                .out_dim = out_dim,
                .n_layers = n_layers};
    }
};
BOOST_DESCRIBE_STRUCT(ChromaRadianceConfig, (),
                      (in_channels, out_channels, patch_size, hidden_size, num_heads, mlp_ratio,
                       depth, depth_single_blocks, context_in_dim, qkv_bias, axes_dim, in_dim,
                       hidden_dim, out_dim, n_layers, nerf_hidden_size, nerf_mlp_ratio, nerf_depth,
                       nerf_max_freqs, nerf_tile_size, nerf_final_head_type, nerf_embedder_dtype,
                       use_x0, use_sequential_txt_ids))

}  // namespace plimsoll::modelfile
