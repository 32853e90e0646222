// SPDX-License-Identifier: Apache-2.0
//
// Krea 2 (2026). Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

struct Krea2Config {
    int features = 6144;
    int tdim = 256;  // of the timestep's sinusoids
    int txtdim = 2560;
    int heads = 48;
    int kvheads = 12;
    int multiplier = 4;  // of feed-forward layers, over two thirds of the width
    int layers = 28;
    int patch = 2;
    int channels = 16;  // of the latent
    bool bias = false;
    int txtlayers = 12;  // hidden layers of the text encoder
    int txtheads = 20;
    int txtkvheads = 20;
};
BOOST_DESCRIBE_STRUCT(Krea2Config, (),
                      (features, tdim, txtdim, heads, kvheads, multiplier, layers, patch, channels,
                       bias, txtlayers, txtheads, txtkvheads))

}  // namespace plimsoll::modelfile
