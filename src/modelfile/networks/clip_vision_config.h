// SPDX-License-Identifier: Apache-2.0
//
// The vision transformers of CLIP (Radford et al. 2021) and SigLIP (Zhai et al. 2023).
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct ClipVisionConfig {
    int image = 224;  // pixels along a side
    int patch = 14;
    int hidden = 1024;
    int intermediate = 4096;
    int layers = 24;
    int heads = 16;
    int projection =
        768;  // width of the pooled token; 0: as it is, and no token is a class (SigLIP)
    bool quick_gelu = true;
};
BOOST_DESCRIBE_STRUCT(ClipVisionConfig, (),
                      (image, patch, hidden, intermediate, layers, heads, projection, quick_gelu))

}  // namespace plimsoll::modelfile
