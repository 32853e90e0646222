// SPDX-License-Identifier: Apache-2.0
//
// Flux (Black Forest Labs 2024) and the networks that differ from it in numbers only: Flux 2,
// LongCat-Image, Ovis-Image. Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct FluxConfig {
    int in_channels = 16;   // of the latent that the network takes: 96 for Fill, 32 for control
    int out_channels = 16;  // of the latent
    int patch_size = 2;
    int hidden_size = 3072;
    int num_heads = 24;
    double mlp_ratio = 4.0;
    int depth = 19;
    int depth_single_blocks = 38;
    int context_in_dim = 4096;
    int vec_in_dim = 768;  // 0: no pooled text
    bool qkv_bias = true;
    bool guidance_embed = true;  // dev; schnell has none
    std::vector<int> axes_dim = {16, 56, 56};
    // Axes on which text tokens are numbered; else all are 0. Initialised, so that designated
    // initialisers may leave it out.
    std::vector<int> txt_ids_dims = {};  // NOLINT(readability-redundant-member-init)
    // Flux 2: one modulation for all blocks of a kind, a gated SiLU, Linear layers without biases.
    bool global_modulation = false;
    bool mlp_silu_act = false;
    bool ops_bias = true;
    // Ovis-Image: a gated SiLU of two Linear layers in blocks of two streams, and a norm of the
    // text.
    bool yak_mlp = false;
    bool txt_norm = false;
};
BOOST_DESCRIBE_STRUCT(FluxConfig, (),
                      (in_channels, out_channels, patch_size, hidden_size, num_heads, mlp_ratio,
                       depth, depth_single_blocks, context_in_dim, vec_in_dim, qkv_bias,
                       guidance_embed, axes_dim, txt_ids_dims, global_modulation, mlp_silu_act,
                       ops_bias, yak_mlp, txt_norm))

}  // namespace plimsoll::modelfile
