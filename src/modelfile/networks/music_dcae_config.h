// SPDX-License-Identifier: Apache-2.0
//
// The VAE of ACE-Step (Gong et al. 2025): a deep compression autoencoder (Chen et al. 2024) over
// mel spectrograms, and a vocoder. Members have the names of the published configuration; the
// vocoder's numbers are those published.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct MusicDcaeConfig {
    int in_channels = 2;  // of the sound: one spectrogram each
    int latent_channels = 8;
    int attention_head_dim = 32;
    std::vector<int> block_out_channels = {128, 256, 512, 1024};
    std::vector<int> encoder_layers_per_block = {2, 2, 3, 3};
    std::vector<int> decoder_layers_per_block = {3, 3, 3, 3};
};
BOOST_DESCRIBE_STRUCT(MusicDcaeConfig, (),
                      (in_channels, latent_channels, attention_head_dim, block_out_channels,
                       encoder_layers_per_block, decoder_layers_per_block))

}  // namespace plimsoll::modelfile
