// SPDX-License-Identifier: Apache-2.0
//
// Lumina Image 2.0 (Qin et al. 2025) and Z-Image (2025), which is the same network with another
// modulation and padded tokens. Members have the names of ComfyUI's constructor arguments.
#pragma once
#include <boost/describe/class.hpp>

#include <vector>

namespace plimsoll::modelfile {

struct Lumina2Config {
    int patch_size = 2;
    int in_channels = 16;  // of the latent
    int dim = 2304;
    int n_layers = 26;
    int n_refiner_layers = 2;  // of text and of image apart, before the joint layers
    int n_heads = 24;
    int n_kv_heads = 8;
    int multiple_of = 256;  // the width of feed-forward layers is rounded up to it
    double ffn_dim_multiplier = 4.0;
    bool qk_norm = true;
    int cap_feat_dim = 2304;  // of the text encoder
    std::vector<int> axes_dims = {32, 32, 32};
    bool z_image_modulation = false;
    int pad_tokens_multiple = 0;  // 0: no padding tokens
    int clip_text_dim = 0;        // 0: no pooled text
    int siglip_feat_dim = 0;      // 0: no image encoder
    // Not an argument: a norm that versions before 0.33.0 load but never use.
    bool unused_norm_final = false;
};
BOOST_DESCRIBE_STRUCT(Lumina2Config, (),
                      (patch_size, in_channels, dim, n_layers, n_refiner_layers, n_heads,
                       n_kv_heads, multiple_of, ffn_dim_multiplier, qk_norm, cap_feat_dim,
                       axes_dims, z_image_modulation, pad_tokens_multiple, clip_text_dim,
                       siglip_feat_dim))

}  // namespace plimsoll::modelfile
