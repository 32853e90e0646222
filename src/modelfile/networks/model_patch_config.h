// SPDX-License-Identifier: Apache-2.0
//
// Model patches: networks that run inside another one's forward, at every block, without being a
// ControlNet.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

// Of Qwen-Image (DiffSynth-Studio): for each block of that network two Linear layers over its
// tokens and those of a control image.
struct QwenPatchConfig {
    int num_layers = 60;
    int dim = 3072;
    int hint_channels = 64;  // of a token; 4 more where a mask is with it
};
BOOST_DESCRIBE_STRUCT(QwenPatchConfig, (), (num_layers, dim, hint_channels))

// Of Z-Image (Fun, Alibaba PAI): blocks like that network's own over the tokens of a control image.
struct ZImagePatchConfig {
    int n_control_layers = 6;
    int hint_channels = 16;        // of the latent; 33 with a mask and an image to fill
    bool refiner_control = false;  // whether its refiners are fed the network's tokens too
};
BOOST_DESCRIBE_STRUCT(ZImagePatchConfig, (), (n_control_layers, hint_channels, refiner_control))

// Of Anima (LLLite, Kohya): small networks beside projections of its blocks, and one that reads the
// control image.
struct AnimaPatchConfig {
    int cond_in_channels = 4;  // colours, and a mask
    int cond_dim = 128;
    int cond_emb_dim = 64;
    int cond_resblocks = 4;
    std::vector<int> aspp_dilations = {};  // NOLINT(readability-redundant-member-init)
    int mlp_dim = 64;
    int model_dim = 2048;
    int num_blocks = 28;
    bool self_attention = true;    // queries, keys and values
    bool cross_attention = false;  // queries
    bool mlp = true;
};
BOOST_DESCRIBE_STRUCT(AnimaPatchConfig, (),
                      (cond_in_channels, cond_dim, cond_emb_dim, cond_resblocks, aspp_dilations,
                       mlp_dim, model_dim, num_blocks, self_attention, cross_attention, mlp))

}  // namespace plimsoll::modelfile
