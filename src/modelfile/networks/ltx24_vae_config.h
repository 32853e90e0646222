// SPDX-License-Identifier: Apache-2.0
//
// The VAE of LTX 2.4 and 2.5: the encoder of LTX-Video's kind, and a decoder. Members of the
// decoder have the names of the configuration's keys.
#pragma once
#include "modelfile/networks/ltx_vae_config.h"

#include <boost/describe/class.hpp>

#include <array>
#include <vector>

namespace plimsoll::modelfile {

struct Ltx24DecoderConfig {
    int in_channels = 128;
    int out_channels = 3;
    int patch_size = 4;
    int head_dim = 64;
    std::vector<int> stage_channels = {2048, 1024, 512, 512, 256};
    std::vector<int> stage_depths = {4, 6, 4, 2, 8};
    std::vector<std::array<int, 3>> stage_kernels = {
        {3, 7, 7}, {3, 7, 7}, {3, 5, 5}, {3, 5, 5}, {11, 11, 11}};
    std::array<int, 3> stage5_kernel = {11, 11, 11};
    int t_emb_dim = 384;
    int default_num_inference_steps = 1;
};
BOOST_DESCRIBE_STRUCT(Ltx24DecoderConfig, (),
                      (in_channels, out_channels, patch_size, head_dim, stage_channels,
                       stage_depths, stage_kernels, stage5_kernel, t_emb_dim,
                       default_num_inference_steps))

struct Ltx24VaeConfig {
    LtxVaeConfig encoder;  // its decoder's blocks are not used
    Ltx24DecoderConfig decoder;
};

}  // namespace plimsoll::modelfile
