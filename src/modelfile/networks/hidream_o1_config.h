// SPDX-License-Identifier: Apache-2.0
//
// HiDream-O1-Image (2026): the language model that it is built on.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct HiDreamO1TextConfig {
    int vocab_size = 151936;
    int hidden_size = 4096;
    int intermediate_size = 12288;
    int num_hidden_layers = 36;
    int num_attention_heads = 32;
    int num_key_value_heads = 8;
    int head_dim = 128;
    bool qkv_bias = false;
};
BOOST_DESCRIBE_STRUCT(HiDreamO1TextConfig, (),
                      (vocab_size, hidden_size, intermediate_size, num_hidden_layers,
                       num_attention_heads, num_key_value_heads, head_dim, qkv_bias))

struct HiDreamO1Config {
    HiDreamO1TextConfig text;
};
BOOST_DESCRIBE_STRUCT(HiDreamO1Config, (), (text))

}  // namespace plimsoll::modelfile
