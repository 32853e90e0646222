// SPDX-License-Identifier: Apache-2.0
//
// Stable Audio Open 1.0 (Evans et al. 2024). Members have the names of ComfyUI's constructor
// arguments.
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

}  // namespace plimsoll::modelfile
