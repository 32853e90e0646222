// SPDX-License-Identifier: Apache-2.0
//
// The encoder of T5Gemma (Google 2025), the text encoder of Stable Audio 3. Members have the names
// of its published configuration.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct T5GemmaConfig {
    int vocab_size = 256000;
    int hidden_size = 768;
    int intermediate_size = 2048;
    int num_hidden_layers = 12;
    int num_attention_heads = 12;
    int num_key_value_heads = 12;
    int head_dim = 64;
};
BOOST_DESCRIBE_STRUCT(T5GemmaConfig, (),
                      (vocab_size, hidden_size, intermediate_size, num_hidden_layers,
                       num_attention_heads, num_key_value_heads, head_dim))

}  // namespace plimsoll::modelfile
