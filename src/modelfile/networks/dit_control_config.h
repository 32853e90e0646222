// SPDX-License-Identifier: Apache-2.0
//
// ControlNets of diffusion transformers. Their hint is a latent: ComfyUI encodes the image itself.
#pragma once
#include "modelfile/networks/flux_config.h"
#include "modelfile/networks/qwen_image_config.h"

#include <boost/describe/class.hpp>

namespace plimsoll::modelfile {

// Of Qwen-Image (InstantX): its first blocks, and a Linear layer after each.
struct QwenControlConfig {
    int num_layers = 5;
    int attention_head_dim = 128;
    int num_attention_heads = 24;
    int joint_attention_dim = 3584;
    int in_channels = 64;              // of a token
    int extra_condition_channels = 0;  // of the hint's tokens besides: 4 where a mask is with it
    int main_layers = 60;              // of the network that is controlled

    [[nodiscard]] QwenImageConfig base() const {
        return {.in_channels = in_channels,
                .num_layers = num_layers,
                .attention_head_dim = attention_head_dim,
                .num_attention_heads = num_attention_heads,
                .joint_attention_dim = joint_attention_dim};
    }
};
BOOST_DESCRIBE_STRUCT(QwenControlConfig, (),
                      (num_layers, attention_head_dim, num_attention_heads, joint_attention_dim,
                       in_channels, extra_condition_channels, main_layers))

// Of Qwen-Image (Fun, Alibaba PAI): blocks of its own, each with a Linear layer behind it. Text,
// time and positions are embedded by the network that is controlled.
struct QwenFunControlConfig {
    int num_blocks = 5;
    int attention_head_dim = 128;
    int num_attention_heads = 24;
    int hint_channels = 132;  // of a token: control image, mask, image to fill

    [[nodiscard]] QwenImageConfig base() const {
        return {.attention_head_dim = attention_head_dim,
                .num_attention_heads = num_attention_heads};
    }
};
BOOST_DESCRIBE_STRUCT(QwenFunControlConfig, (),
                      (num_blocks, attention_head_dim, num_attention_heads, hint_channels))

// Of Stable Diffusion 3.5 Large (Stability AI): blocks of image tokens alone, each of which is
// given the same tokens.
struct Sd35ControlConfig {
    int num_layers = 19;
    int depth = 38;  // blocks of the network that is controlled, and the width in heads of 64
    int in_channels = 16;
    int adm_in_channels = 2048;  // of the pooled text
};
BOOST_DESCRIBE_STRUCT(Sd35ControlConfig, (), (num_layers, depth, in_channels, adm_in_channels))

// Of Flux: its first blocks of two streams and of one, and a Linear layer after each.
struct FluxControlConfig {
    int depth = 5;
    int depth_single_blocks = 10;
    int hidden_size = 3072;
    int num_heads = 24;
    double mlp_ratio = 4.0;
    int in_channels = 16;  // of the latent
    int context_in_dim = 4096;
    int vec_in_dim = 768;
    bool qkv_bias = true;
    bool guidance_embed = true;
    int union_modes = 0;      // types that one network knows; 0: it has no token for them
    int hint_channels = 16;   // of the hint's cells: 17 where a mask is with it
    bool pixel_hint = false;  // the hint is an image, folded by convolutions (XLabs)
    bool mistoline = false;   // of those, MistoLine's: other convolutions, a SiLU after each layer

    [[nodiscard]] FluxConfig base() const {
        return {.in_channels = in_channels,
                .out_channels = in_channels,
                .hidden_size = hidden_size,
                .num_heads = num_heads,
                .mlp_ratio = mlp_ratio,
                .depth = depth,
                .depth_single_blocks = depth_single_blocks,
                .context_in_dim = context_in_dim,
                .vec_in_dim = vec_in_dim,
                .qkv_bias = qkv_bias,
                .guidance_embed = guidance_embed};
    }
};
BOOST_DESCRIBE_STRUCT(FluxControlConfig, (),
                      (depth, depth_single_blocks, hidden_size, num_heads, mlp_ratio, in_channels,
                       context_in_dim, vec_in_dim, qkv_bias, guidance_embed, union_modes,
                       hint_channels, pixel_hint, mistoline))

}  // namespace plimsoll::modelfile
