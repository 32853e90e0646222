// SPDX-License-Identifier: Apache-2.0
//
// Decoder-only language models used as text encoders: Llama, Qwen 2.5 and 3, Mistral, Gemma 2 and
// 3, and those with eyes. Members have the names of ComfyUI's configuration classes.
#pragma once
#include <boost/describe/class.hpp>

#include <string>

namespace plimsoll::modelfile {

struct DecoderConfig {
    int vocab_size = 128320;
    int hidden_size = 4096;
    int intermediate_size = 14336;
    int num_hidden_layers = 32;
    int num_attention_heads = 32;
    int num_key_value_heads = 8;
    int head_dim = 128;
    bool qkv_bias = false;
    bool q_norm = false;                     // of queries and keys, head by head
    std::string transformer_type = "llama";  // "llama", "gemma2", "gemma3"
    bool final_norm = true;
    bool lm_head = false;
    // The eye that is loaded with the model but does not run on text: "none", "qwen25vl",
    // "qwen3vl_l" (1024 channels), "qwen3vl_so" (1152), "siglip".
    std::string vision = "none";
    // It writes codes of sound, eight for each moment: MiniMax Music 3's.
    bool writes_sound = false;
    bool scaled_fp8 = false;   // Linear layers in fp8 with a scale each, everything else in 16 bit
    int linear_millibits = 0;  // of the layers' matrices where they are packed: see PartWeights
};
BOOST_DESCRIBE_STRUCT(DecoderConfig, (),
                      (vocab_size, hidden_size, intermediate_size, num_hidden_layers,
                       num_attention_heads, num_key_value_heads, head_dim, qkv_bias, q_norm,
                       transformer_type, final_norm, lm_head, vision, writes_sound, scaled_fp8,
                       linear_millibits))

}  // namespace plimsoll::modelfile
