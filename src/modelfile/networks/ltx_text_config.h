// SPDX-License-Identifier: Apache-2.0
//
// What LTX-2's checkpoints hold of its text encoder: the layer that makes one token of all hidden
// states of Gemma's, and the connectors behind it.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct LtxTextProjectionConfig {
    int hidden_size = 3840;  // of Gemma's states
    int states = 49;         // before each of its layers, and the last
    int video_features = 3840;
    int audio_features = 0;  // 0: one layer for both
    bool bias = false;
};
BOOST_DESCRIBE_STRUCT(LtxTextProjectionConfig, (),
                      (hidden_size, states, video_features, audio_features, bias))

// ComfyUI runs those of the first LTX-2 with the text encoder, those of later ones with the
// diffusion model, which has them in both cases.
struct LtxTextConnectorConfig {
    int num_layers = 2;
    int num_attention_heads = 30;
    int attention_head_dim = 128;
};
BOOST_DESCRIBE_STRUCT(LtxTextConnectorConfig, (),
                      (num_layers, num_attention_heads, attention_head_dim))

}  // namespace plimsoll::modelfile
