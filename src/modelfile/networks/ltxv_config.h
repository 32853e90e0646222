// SPDX-License-Identifier: Apache-2.0
//
// LTX-Video (HaCohen et al. 2024). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct LtxvConfig {
    int in_channels = 128;  // of the latent
    int cross_attention_dim = 2048;
    int attention_head_dim = 64;
    int num_attention_heads = 32;
    int caption_channels = 4096;  // of the text encoder
    int num_layers = 28;
    std::vector<double> positional_embedding_max_pos = {20, 2048, 2048};
    bool causal_temporal_positioning = false;
    bool use_middle_indices_grid = false;  // positions: the middle of a token, not its start
    // "interleaved": rotated channels are neighbours, "split": they are halves of a head.
    std::string rope_type = "interleaved";
    std::string frequencies_precision = "float32";
    bool cross_attention_adaln = false;
    bool apply_gated_attention = false;
    bool caption_proj_before_connector = false;
    bool ff_bias = true;
    bool use_keyframes_abs_pos_embedding = false;
};
BOOST_DESCRIBE_STRUCT(LtxvConfig, (),
                      (in_channels, cross_attention_dim, attention_head_dim, num_attention_heads,
                       caption_channels, num_layers, positional_embedding_max_pos,
                       causal_temporal_positioning, use_middle_indices_grid, rope_type,
                       frequencies_precision, cross_attention_adaln, apply_gated_attention,
                       caption_proj_before_connector, ff_bias, use_keyframes_abs_pos_embedding))

}  // namespace plimsoll::modelfile
