// SPDX-License-Identifier: Apache-2.0
//
// Oobleck, the VAE of Stable Audio (Evans et al. 2024) and of ACE-Step 1.5. Members have the names
// of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct OobleckConfig {
    int in_channels = 2;  // of the sound
    int channels = 128;
    int latent_dim = 64;
    std::vector<int> c_mults = {1, 2, 4, 8, 16};  // of `channels`, outermost level first
    std::vector<int> strides = {2, 4, 4, 8, 8};
};
BOOST_DESCRIBE_STRUCT(OobleckConfig, (), (in_channels, channels, latent_dim, c_mults, strides))

}  // namespace plimsoll::modelfile
