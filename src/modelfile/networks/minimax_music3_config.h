// SPDX-License-Identifier: Apache-2.0
//
// The diffusion transformer of MiniMax Music 3. No constructor is published: members are named for
// what they are.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct MiniMaxMusic3Config {
    int latent_channels = 128;
    int context_layers = 8;    // hidden states of the language model that are mixed
    int context_width = 4096;  // of each
    int embed_dim = 2048;
    int ff_dim = 8192;
    int depth = 36;
    int num_heads = 32;
};
BOOST_DESCRIBE_STRUCT(MiniMaxMusic3Config, (),
                      (latent_channels, context_layers, context_width, embed_dim, ff_dim, depth,
                       num_heads))

}  // namespace plimsoll::modelfile
