// SPDX-License-Identifier: Apache-2.0
//
// JoyAI-Image-Edit (JD 2026). Members have the names of ComfyUI's constructor arguments; the
// numbers are those of the published conversion.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct JoyImageConfig {
    int in_channels = 16;
    int hidden_size = 4096;
    int num_attention_heads = 32;
    int text_dim = 4096;
    int mlp_width_ratio = 4;
    int num_layers = 40;
};
BOOST_DESCRIBE_STRUCT(JoyImageConfig, (),
                      (in_channels, hidden_size, num_attention_heads, text_dim, mlp_width_ratio,
                       num_layers))

}  // namespace plimsoll::modelfile
