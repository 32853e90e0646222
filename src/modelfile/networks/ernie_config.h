// SPDX-License-Identifier: Apache-2.0
//
// ERNIE-Image (Baidu 2026). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct ErnieConfig {
    int hidden_size = 4096;
    int num_attention_heads = 32;
    int num_layers = 36;
    int ffn_hidden_size = 12288;
    int in_channels = 128;  // of the latent
    int out_channels = 128;
    int patch_size = 1;
    int text_in_dim = 3072;
    std::vector<int> rope_axes_dim = {32, 48, 48};
};
BOOST_DESCRIBE_STRUCT(ErnieConfig, (),
                      (hidden_size, num_attention_heads, num_layers, ffn_hidden_size, in_channels,
                       out_channels, patch_size, text_in_dim, rope_axes_dim))

}  // namespace plimsoll::modelfile
