// SPDX-License-Identifier: Apache-2.0
//
// HiDream-I1 (Cai et al. 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct HiDreamConfig {
    int patch_size = 2;
    int in_channels = 16;  // of the latent
    int out_channels = 16;
    int num_layers = 16;
    int num_single_layers = 32;
    int attention_head_dim = 128;
    int num_attention_heads = 20;
    std::vector<int> caption_channels = {4096, 4096};  // of T5's and of Llama's tokens
    int text_emb_dim = 2048;                           // of the pooled text
    int num_routed_experts = 4;
    int num_activated_experts = 2;
    std::vector<int> axes_dims_rope = {64, 32, 32};
    // Which of Llama's layers each block reads; the last one again and again where they run out.
    std::vector<int> llama_layers = {0,  1,  2,  3,  4,  5,  6,  7,  8,  9,  10, 11,
                                     12, 13, 14, 15, 16, 17, 18, 19, 20, 21, 22, 23,
                                     24, 25, 26, 27, 28, 29, 30, 31, 31, 31, 31, 31,
                                     31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31, 31};
};
BOOST_DESCRIBE_STRUCT(HiDreamConfig, (),
                      (patch_size, in_channels, out_channels, num_layers, num_single_layers,
                       attention_head_dim, num_attention_heads, caption_channels, text_emb_dim,
                       num_routed_experts, num_activated_experts, axes_dims_rope, llama_layers))

}  // namespace plimsoll::modelfile
