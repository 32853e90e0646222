// SPDX-License-Identifier: Apache-2.0
//
// Chroma (Lodestone Rock 2025): Flux's blocks, modulated by one network that computes all shifts,
// scales and gates from the timestep. Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct ChromaConfig {
    int in_channels = 64;  // of a patch: 16 of the latent x 2 x 2
    int out_channels = 64;
    int patch_size = 2;
    int hidden_size = 3072;
    int num_heads = 24;
    double mlp_ratio = 4.0;
    int depth = 19;
    int depth_single_blocks = 38;
    int context_in_dim = 4096;
    bool qkv_bias = true;
    std::vector<int> axes_dim = {16, 56, 56};
    // Of the network that computes the modulations: widths and number of its layers.
    int in_dim = 64;
    int hidden_dim = 5120;
    int out_dim = 3072;
    int n_layers = 5;
};
BOOST_DESCRIBE_STRUCT(ChromaConfig, (),
                      (in_channels, out_channels, patch_size, hidden_size, num_heads, mlp_ratio,
                       depth, depth_single_blocks, context_in_dim, qkv_bias, axes_dim, in_dim,
                       hidden_dim, out_dim, n_layers))

}  // namespace plimsoll::modelfile
