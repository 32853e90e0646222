// SPDX-License-Identifier: Apache-2.0
//
// Stable Audio Open 1.0 (Evans et al. 2024) and Stable Audio 3 (2026). Members have the names of
// ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct StableAudioConfig {
    int io_channels = 64;
    int embed_dim = 1536;
    int cond_token_dim = 768;
    int global_cond_dim = 1536;
    int depth = 24;
    int num_heads = 24;
};
BOOST_DESCRIBE_STRUCT(StableAudioConfig, (),
                      (io_channels, embed_dim, cond_token_dim, global_cond_dim, depth, num_heads))

// The medium one. What is masked comes in beside the latent, with the mask: `local_add_cond_dim`.
struct StableAudio3Config {
    int io_channels = 256;
    int embed_dim = 1536;
    int cond_token_dim = 768;
    int global_cond_dim = 768;
    int local_add_cond_dim = 257;
    int num_memory_tokens = 64;
    int depth = 24;
    int num_heads = 24;
};
BOOST_DESCRIBE_STRUCT(StableAudio3Config, (),
                      (io_channels, embed_dim, cond_token_dim, global_cond_dim, local_add_cond_dim,
                       num_memory_tokens, depth, num_heads))

// Its VAE, whose coders are transformers over 16 steps and one more for each latent.
struct SameVaeConfig {
    int channels = 256;
    int transformer_depths = 12;
    int sliding_window = 1;  // latents to either side
};
BOOST_DESCRIBE_STRUCT(SameVaeConfig, (), (channels, transformer_depths, sliding_window))

}  // namespace plimsoll::modelfile
