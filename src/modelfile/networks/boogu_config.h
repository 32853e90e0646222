// SPDX-License-Identifier: Apache-2.0
//
// Boogu-Image (2026), OmniGen2 with layers of two streams. Members have the names of ComfyUI's
// constructor arguments.
#pragma once
#include "modelfile/networks/omnigen2_config.h"

#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct BooguConfig {
    int patch_size = 2;
    int in_channels = 16;  // of the latent, in and out
    int hidden_size = 3360;
    int num_layers = 32;  // of one stream
    int num_double_stream_layers = 8;
    int num_refiner_layers = 2;
    int num_attention_heads = 28;
    int num_kv_heads = 7;
    int multiple_of = 256;
    std::vector<int> axes_dim_rope = {40, 40, 40};
    int instruction_feat_dim = 4096;

    // What it has in common with OmniGen2.
    [[nodiscard]] OmniGen2Config base() const {
        return {.patch_size = patch_size,
                .in_channels = in_channels,
                .hidden_size = hidden_size,
                .num_layers = num_layers,
                .num_refiner_layers = num_refiner_layers,
                .num_attention_heads = num_attention_heads,
                .num_kv_heads = num_kv_heads,
                .multiple_of = multiple_of,
                .axes_dim_rope = axes_dim_rope,
                .text_feat_dim = instruction_feat_dim};
    }
};
BOOST_DESCRIBE_STRUCT(BooguConfig, (),
                      (patch_size, in_channels, hidden_size, num_layers, num_double_stream_layers,
                       num_refiner_layers, num_attention_heads, num_kv_heads, multiple_of,
                       axes_dim_rope, instruction_feat_dim))

}  // namespace plimsoll::modelfile
