// SPDX-License-Identifier: Apache-2.0
//
// OmniGen2 (Wu et al. 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct OmniGen2Config {
    int patch_size = 2;
    int in_channels = 16;  // of the latent, in and out
    int hidden_size = 2520;
    int num_layers = 32;
    int num_refiner_layers = 2;  // of text, of image and of references apart
    int num_attention_heads = 21;
    int num_kv_heads = 7;
    int multiple_of = 256;  // the width of feed-forward layers is rounded up to it
    std::vector<int> axes_dim_rope = {40, 40, 40};
    int text_feat_dim = 2048;
};
BOOST_DESCRIBE_STRUCT(OmniGen2Config, (),
                      (patch_size, in_channels, hidden_size, num_layers, num_refiner_layers,
                       num_attention_heads, num_kv_heads, multiple_of, axes_dim_rope,
                       text_feat_dim))

}  // namespace plimsoll::modelfile
