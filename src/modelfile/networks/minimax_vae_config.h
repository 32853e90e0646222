// SPDX-License-Identifier: Apache-2.0
//
// MiniMax-H3's VAE of videos (MiniMax 2026): a causal convolutional encoder and a transformer that
// writes the pixels of each latent cell. Members have the names of the published configuration.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct MiniMaxVaeConfig {
    int in_channels = 3;
    int out_channels = 3;
    int latent_channels = 24;
    std::vector<int> block_out_channels = {128, 256, 256, 512, 512, 1024};
    int layers_per_block = 2;
    std::vector<int> spatial_downsample_factors = {2, 2, 2, 2, 1, 1};
    std::vector<int> temporal_downsample_factors = {1, 2, 2, 1, 1, 1};
    int decoder_num_layers = 36;
    int decoder_num_attention_heads = 32;
    int decoder_attention_head_dim = 64;
    int decoder_num_register_tokens = 4;
    int decoder_ffn_mult = 4;
    int clip_length = 17;       // frames that the encoder sees together
    int token_drop = 3;         // latent frames dropped at the end
    bool int8_decoder = false;  // its blocks' Linear layers in int8, with a scale for each row
};
BOOST_DESCRIBE_STRUCT(MiniMaxVaeConfig, (),
                      (in_channels, out_channels, latent_channels, block_out_channels,
                       layers_per_block, spatial_downsample_factors, temporal_downsample_factors,
                       decoder_num_layers, decoder_num_attention_heads, decoder_attention_head_dim,
                       decoder_num_register_tokens, decoder_ffn_mult, clip_length, token_drop,
                       int8_decoder))

}  // namespace plimsoll::modelfile
