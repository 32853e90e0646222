// SPDX-License-Identifier: Apache-2.0
//
// Gemma 4 (Google 2026): the small models with their inputs for each layer and their shared keys
// and values, and the one of 12 billion that has neither, whose far layers take keys for values.
// Members have the names of its published configuration.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct Gemma4Config {
    int vocab_size = 262144;
    int hidden_size = 2560;
    int intermediate_size = 10240;
    int num_hidden_layers = 42;
    int num_attention_heads = 8;
    int num_key_value_heads = 2;
    int head_dim = 256;            // of layers that look back over a window only
    int global_head_dim = 512;     // of the others
    int sliding_window = 512;      // tokens
    int full_attention_every = 6;  // layers
    int hidden_size_per_layer_input = 256;
    int num_kv_shared_layers = 18;
    bool use_double_wide_mlp = false;    // in the layers that share
    int num_global_key_value_heads = 0;  // of layers that look at everything; 0: as the others
    bool attention_k_eq_v = false;       // those layers have no values of their own
    bool unified = false;                // pictures and sound come in without towers of their own
    bool scaled_fp8 = false;
    int linear_millibits = 0;  // see DecoderConfig
};
BOOST_DESCRIBE_STRUCT(Gemma4Config, (),
                      (vocab_size, hidden_size, intermediate_size, num_hidden_layers,
                       num_attention_heads, num_key_value_heads, head_dim, global_head_dim,
                       sliding_window, full_attention_every, hidden_size_per_layer_input,
                       num_kv_shared_layers, use_double_wide_mlp, num_global_key_value_heads,
                       attention_k_eq_v, unified, scaled_fp8, linear_millibits))

}  // namespace plimsoll::modelfile
