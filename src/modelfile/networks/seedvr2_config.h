// SPDX-License-Identifier: Apache-2.0
//
// SeedVR2 (ByteDance 2025). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <string>

namespace plimsoll::modelfile {

struct Seedvr2Config {
    int vid_dim = 2560;
    int heads = 20;
    int num_layers = 32;
    int mm_layers = 10;               // blocks with weights of their own for text
    std::string mlp_type = "swiglu";  // or "normal"
    bool vid_out_norm = false;
};
BOOST_DESCRIBE_STRUCT(Seedvr2Config, (),
                      (vid_dim, heads, num_layers, mm_layers, mlp_type, vid_out_norm))

}  // namespace plimsoll::modelfile
