// SPDX-License-Identifier: Apache-2.0
//
// The text encoder of Ming-Image 0.1 (Ant Group 2026): Ling-mini 2.0, a language model whose layers
// choose some of many experts for each token, and a smaller one that turns what it says of 256
// learned tokens into the condition. Members have the names of the published configuration.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct MingTextConfig {
    int vocab_size = 157184;
    int hidden_size = 2048;
    int intermediate_size = 5120;  // of the first layer, which has no experts
    int moe_intermediate_size = 512;
    int num_hidden_layers = 20;
    int num_attention_heads = 16;
    int num_key_value_heads = 4;
    int head_dim = 128;
    int num_experts = 256;
    int num_experts_per_tok = 8;
    int linear_millibits = 0;  // see DecoderConfig
};
BOOST_DESCRIBE_STRUCT(MingTextConfig, (),
                      (vocab_size, hidden_size, intermediate_size, moe_intermediate_size,
                       num_hidden_layers, num_attention_heads, num_key_value_heads, head_dim,
                       num_experts, num_experts_per_tok, linear_millibits))

}  // namespace plimsoll::modelfile
