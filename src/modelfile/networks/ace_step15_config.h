// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step 1.5 (ACE Studio and StepFun 2026). Members have the names of ComfyUI's constructor
// arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct AceStep15Config {
    int in_channels = 192;  // latent, mask and context
    int hidden_size = 2048;
    int text_hidden_dim = 1024;
    int timbre_hidden_dim = 64;
    int audio_acoustic_hidden_dim = 64;
    int num_dit_layers = 24;
    int num_lyric_layers = 8;
    int num_timbre_layers = 4;
    int num_tokenizer_layers = 2;
    int num_heads = 16;
    int num_kv_heads = 8;
    int head_dim = 128;
    int intermediate_size = 6144;
    int patch_size = 2;
    int pool_window_size = 5;
    int sliding_window = 128;  // of every second layer, beginning with the first
    int fsq_dim = 2048;
    std::vector<int> fsq_levels = {8, 8, 8, 5, 5, 5};
    int fsq_input_num_quantizers = 1;
};
BOOST_DESCRIBE_STRUCT(AceStep15Config, (),
                      (in_channels, hidden_size, text_hidden_dim, timbre_hidden_dim,
                       audio_acoustic_hidden_dim, num_dit_layers, num_lyric_layers,
                       num_timbre_layers, num_tokenizer_layers, num_heads, num_kv_heads, head_dim,
                       intermediate_size, patch_size, pool_window_size, sliding_window, fsq_dim,
                       fsq_levels, fsq_input_num_quantizers))

}  // namespace plimsoll::modelfile
