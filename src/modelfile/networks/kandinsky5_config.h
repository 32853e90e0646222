// SPDX-License-Identifier: Apache-2.0
//
// Kandinsky 5 (Sber 2025), image and video. Members have the names of ComfyUI's constructor
// arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct Kandinsky5Config {
    int in_visual_dim = 16;  // of the latent
    int out_visual_dim = 16;
    int in_text_dim = 3584;
    int in_text_dim2 = 768;  // of the pooled text
    int time_dim = 512;
    int model_dim = 1792;
    int ff_dim = 7168;
    int visual_embed_dim = 132;  // of a patch, with the channels beside the latent's
    std::vector<int> patch_size = {1, 2, 2};
    int num_text_blocks = 2;
    int num_visual_blocks = 32;
    std::vector<int> axes_dims = {16, 24, 24};
};
BOOST_DESCRIBE_STRUCT(Kandinsky5Config, (),
                      (in_visual_dim, out_visual_dim, in_text_dim, in_text_dim2, time_dim,
                       model_dim, ff_dim, visual_embed_dim, patch_size, num_text_blocks,
                       num_visual_blocks, axes_dims))

}  // namespace plimsoll::modelfile
