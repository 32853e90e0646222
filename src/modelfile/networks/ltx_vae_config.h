// SPDX-License-Identifier: Apache-2.0
//
// LTX-Video's VAE. Members have the names of the keys of its configuration.
#pragma once
#include <cstdint>
#include <vector>

namespace plimsoll::modelfile {

enum class LtxVaeBlockKind : std::uint8_t {
    Residuals,     // res_x
    Residual,      // res_x_y: to another width
    Convolution,   // compress_* of an encoder: a convolution with strides
    SpaceToDepth,  // compress_*_res of an encoder
    DepthToSpace,  // compress_* of a decoder
};

struct LtxVaeBlock {
    LtxVaeBlockKind kind = LtxVaeBlockKind::Residuals;
    int num_layers = 1;
    int multiplier = 1;
    bool inject_noise = false;
    bool residual = false;
    int stride_frames = 1;  // of compressions
    int stride_cells = 1;
};

// In the order of the configuration: the decoder runs its list backwards.
struct LtxVaeConfig {
    int in_channels = 3;
    int out_channels = 3;
    int latent_channels = 128;
    int base_channels = 128;
    int patch_size = 4;
    std::vector<LtxVaeBlock> encoder_blocks;
    std::vector<LtxVaeBlock> decoder_blocks;
    bool timestep_conditioning = false;
    bool causal_decoder = false;
    bool decoder_pads_zeros = false;  // else it mirrors what is at the edge
};

}  // namespace plimsoll::modelfile
