// SPDX-License-Identifier: Apache-2.0
//
// ControlNets of diffusion transformers. Their hint is a latent: ComfyUI encodes the image itself.
#pragma once
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

}  // namespace plimsoll::modelfile
