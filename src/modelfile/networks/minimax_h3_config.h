// SPDX-License-Identifier: Apache-2.0
//
// MiniMax H3 (2026), video with sound. Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct MiniMaxH3Config {
    int hidden_size = 5376;
    int num_layers = 50;
    int token_refiner_num_layers = 2;
    int num_attention_heads = 56;
    int attention_head_dim = 128;
    int ffn_hidden_size = 14336;
    int latents_dim = 24;
    int audio_latents_dim = 32;
    std::vector<int> patch_size = {1, 2, 2};
    int text_dim = 5120;  // before it is refined
    int timestep_input_dim = 256;
    int time_embed_hidden_size = 5376;
    int time_embed_dim = 2688;
    int rope_inv_freq_len = 16;
    bool gate_compress = false;  // a gate for sparse attention
    // Where the embedding of time was pruned: rows of the table that stands in its place, each of
    // `time_embed_dim` numbers.
    int adaln_curve_grid = 0;
    bool int8_blocks = false;  // its blocks' Linear layers in int8, with a scale for each row
};
BOOST_DESCRIBE_STRUCT(MiniMaxH3Config, (),
                      (hidden_size, num_layers, token_refiner_num_layers, num_attention_heads,
                       attention_head_dim, ffn_hidden_size, latents_dim, audio_latents_dim,
                       patch_size, text_dim, timestep_input_dim, time_embed_hidden_size,
                       time_embed_dim, rope_inv_freq_len, gate_compress, adaln_curve_grid,
                       int8_blocks))

}  // namespace plimsoll::modelfile
