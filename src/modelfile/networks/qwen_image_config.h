// SPDX-License-Identifier: Apache-2.0
//
// Qwen-Image (Wu et al. 2025) and its edit models. Members have the names of ComfyUI's constructor
// arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>
#include <vector>

namespace plimsoll::modelfile {

struct QwenImageConfig {
    int patch_size = 2;
    int in_channels = 64;   // of a token: latent channels x patch_size^2
    int out_channels = 16;  // of the latent
    int num_layers = 60;
    int attention_head_dim = 128;
    int num_attention_heads = 24;
    int joint_attention_dim = 3584;  // of the text encoder
    std::vector<int> axes_dims_rope = {16, 56, 56};
    // How tokens of reference images are told from the image's own: "index" by their position
    // alone, "index_timestep_zero" by a timestep of zero too (Edit 2511).
    std::string default_ref_method = "index";
    bool use_additional_t_cond = false;  // an embedding beside the timestep's: the layered model
};
BOOST_DESCRIBE_STRUCT(QwenImageConfig, (),
                      (patch_size, in_channels, out_channels, num_layers, attention_head_dim,
                       num_attention_heads, joint_attention_dim, axes_dims_rope, default_ref_method,
                       use_additional_t_cond))

}  // namespace plimsoll::modelfile
