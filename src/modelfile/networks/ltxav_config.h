// SPDX-License-Identifier: Apache-2.0
//
// LTX-2 and 2.3 (Lightricks 2026), which make video and its sound together. Members have the names
// of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct LtxavConfig {
    int in_channels = 128;        // of the video's latent
    int audio_in_channels = 128;  // of a token of sound
    int cross_attention_dim = 4096;
    int audio_cross_attention_dim = 2048;
    int attention_head_dim = 128;
    int audio_attention_head_dim = 64;
    int num_attention_heads = 32;
    int audio_num_attention_heads = 32;
    int caption_channels = 3840;
    int num_layers = 48;
    std::vector<double> positional_embedding_max_pos = {20, 2048, 2048};
    std::vector<double> audio_positional_embedding_max_pos = {20};
    bool causal_temporal_positioning = false;
    bool use_middle_indices_grid = false;
    std::string rope_type = "interleaved";
    std::string frequencies_precision = "float32";
    bool apply_gated_attention = false;  // a gate for each head of every attention
    bool cross_attention_adaln = false;  // attention to the text is modulated too
    bool caption_proj_before_connector = false;
    bool caption_projection_first_linear = true;
    bool ff_bias = true;
    bool audio_ff_bias = true;
    bool use_prompt_adaln_single = true;
    bool use_keyframes_abs_pos_embedding = false;
    bool connector_apply_gated_attention = false;
    int connector_attention_head_dim = 128;
    int connector_num_attention_heads = 30;
    int audio_connector_attention_head_dim = 0;  // 0: as the video's
    int audio_connector_num_attention_heads = 0;
    int connector_num_layers = 2;
};
BOOST_DESCRIBE_STRUCT(LtxavConfig, (),
                      (in_channels, audio_in_channels, cross_attention_dim,
                       audio_cross_attention_dim, attention_head_dim, audio_attention_head_dim,
                       num_attention_heads, audio_num_attention_heads, caption_channels, num_layers,
                       positional_embedding_max_pos, audio_positional_embedding_max_pos,
                       causal_temporal_positioning, use_middle_indices_grid, rope_type,
                       frequencies_precision, apply_gated_attention, cross_attention_adaln,
                       caption_proj_before_connector, caption_projection_first_linear, ff_bias,
                       audio_ff_bias, use_prompt_adaln_single, use_keyframes_abs_pos_embedding,
                       connector_apply_gated_attention, connector_attention_head_dim,
                       connector_num_attention_heads, audio_connector_attention_head_dim,
                       audio_connector_num_attention_heads, connector_num_layers))

}  // namespace plimsoll::modelfile
