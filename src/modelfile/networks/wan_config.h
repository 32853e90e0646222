// SPDX-License-Identifier: Apache-2.0
//
// Wan 2.1 and 2.2 (Alibaba 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <array>
#include <string>

namespace plimsoll::modelfile {

struct WanConfig {
    // "i2v": an encoded image beside the text; "vace"; "camera", which takes that image too, and
    // "camera_2.2", which does not.
    std::string model_type = "t2v";
    int dim = 5120;
    int ffn_dim = 13824;
    int num_heads = 40;
    int num_layers = 40;
    int in_dim = 16;   // channels that the network takes: latent, mask, image latent...
    int out_dim = 16;  // of the latent
    std::array<int, 3> patch_size = {1, 2, 2};  // frames, rows, columns
    int freq_dim = 256;                         // of the timestep's sinusoids
    int text_dim = 4096;
    bool qk_norm = true;
    bool cross_attn_norm = true;
    int in_dim_ref_conv = 0;          // channels of a reference latent; 0: takes none
    int in_dim_control_adapter = 24;  // of "camera": channels of its camera's path
    int vace_layers = 0;              // blocks of the control branch
    int vace_in_dim = 96;             // channels of its input
};
BOOST_DESCRIBE_STRUCT(WanConfig, (),
                      (model_type, dim, ffn_dim, num_heads, num_layers, in_dim, out_dim, patch_size,
                       freq_dim, text_dim, qk_norm, cross_attn_norm, in_dim_ref_conv,
                       in_dim_control_adapter, vace_layers, vace_in_dim))

}  // namespace plimsoll::modelfile
