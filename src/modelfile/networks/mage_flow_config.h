// SPDX-License-Identifier: Apache-2.0
//
// Mage-Flow (Microsoft 2026). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct MageFlowConfig {
    int in_channels = 128;  // of the latent
    int out_channels = 128;
    int num_layers = 12;
    int attention_head_dim = 128;
    int num_attention_heads = 24;
    int joint_attention_dim = 2560;  // of the text encoder
    std::vector<int> axes_dims_rope = {16, 56, 56};
};
BOOST_DESCRIBE_STRUCT(MageFlowConfig, (),
                      (in_channels, out_channels, num_layers, attention_head_dim,
                       num_attention_heads, joint_attention_dim, axes_dims_rope))

}  // namespace plimsoll::modelfile
