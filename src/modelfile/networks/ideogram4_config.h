// SPDX-License-Identifier: Apache-2.0
//
// Ideogram 4 (2026). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct Ideogram4Config {
    int in_channels = 128;  // of the latent, in and out
    int num_layers = 34;
    int num_attention_heads = 18;
    int attention_head_dim = 256;
    int intermediate_size = 12288;  // of feed-forward layers
    int adaln_dim = 512;            // of the vector that modulates
    int llm_features_dim = 53248;   // several layers of the text encoder, side by side
};
BOOST_DESCRIBE_STRUCT(Ideogram4Config, (),
                      (in_channels, num_layers, num_attention_heads, attention_head_dim,
                       intermediate_size, adaln_dim, llm_features_dim))

}  // namespace plimsoll::modelfile
