// SPDX-License-Identifier: Apache-2.0
//
// Qwen 3.5 (Alibaba 2026): three layers with a gated delta rule for each one with attention.
// Members have the names of its published configuration.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct Qwen35Config {
    int vocab_size = 248320;
    int hidden_size = 2048;
    int intermediate_size = 6144;
    int num_hidden_layers = 24;
    int num_attention_heads = 8;
    int num_key_value_heads = 2;
    int head_dim = 256;
    int linear_num_key_heads = 16;
    int linear_num_value_heads = 16;
    int linear_key_head_dim = 128;
    int linear_value_head_dim = 128;
    int linear_conv_kernel_dim = 4;
    bool lm_head = false;
    // Its eye: width, width within, layers. 0: none.
    int vision_hidden_size = 1024;
    int vision_intermediate_size = 4096;
    int vision_depth = 24;
    bool scaled_fp8 = false;
    int linear_millibits = 0;  // see DecoderConfig
};
BOOST_DESCRIBE_STRUCT(Qwen35Config, (),
                      (vocab_size, hidden_size, intermediate_size, num_hidden_layers,
                       num_attention_heads, num_key_value_heads, head_dim, linear_num_key_heads,
                       linear_num_value_heads, linear_key_head_dim, linear_value_head_dim,
                       linear_conv_kernel_dim, lm_head, vision_hidden_size,
                       vision_intermediate_size, vision_depth, scaled_fp8, linear_millibits))

}  // namespace plimsoll::modelfile
