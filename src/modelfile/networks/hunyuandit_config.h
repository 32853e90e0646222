// SPDX-License-Identifier: Apache-2.0
//
// Hunyuan-DiT 1.2 (Li et al. 2024). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct HunyuanDitConfig {
    int patch_size = 2;
    int in_channels = 4;
    int hidden_size = 1408;
    int depth = 40;
    int num_heads = 16;
    double mlp_ratio = 4.3637;
    int text_states_dim = 1024;     // of CLIP's tokens
    int text_states_dim_t5 = 2048;  // of mT5's
    int text_len = 77;
    int text_len_t5 = 256;
};
BOOST_DESCRIBE_STRUCT(HunyuanDitConfig, (),
                      (patch_size, in_channels, hidden_size, depth, num_heads, mlp_ratio,
                       text_states_dim, text_states_dim_t5, text_len, text_len_t5))

}  // namespace plimsoll::modelfile
