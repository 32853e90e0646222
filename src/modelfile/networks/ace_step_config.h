// SPDX-License-Identifier: Apache-2.0
//
// ACE-Step (Gong et al. 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct AceStepConfig {
    int in_channels = 8;  // of the latent
    int out_channels = 8;
    int num_layers = 24;
    int attention_head_dim = 128;
    int num_attention_heads = 20;
    double mlp_ratio = 2.5;
    int max_position = 32768;  // rows of the table of positions
    std::vector<int> patch_size = {16, 1};
    int speaker_embedding_dim = 512;
    int text_embedding_dim = 768;
    int lyric_encoder_vocab_size = 6693;
    int lyric_hidden_size = 1024;
    std::vector<int> ssl_latent_dims = {1024, 768};  // of projectors, which only training uses
};
BOOST_DESCRIBE_STRUCT(AceStepConfig, (),
                      (in_channels, out_channels, num_layers, attention_head_dim,
                       num_attention_heads, mlp_ratio, max_position, patch_size,
                       speaker_embedding_dim, text_embedding_dim, lyric_encoder_vocab_size,
                       lyric_hidden_size, ssl_latent_dims))

}  // namespace plimsoll::modelfile
