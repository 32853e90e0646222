// SPDX-License-Identifier: Apache-2.0
//
// JoyAI-Image-Edit.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_joyimage(const TensorView& view, Notes& notes) {
    NumberReader read(view, "JoyAI-Image-Edit");
    JoyImageConfig c;
    const std::string block = "double_blocks.0.";
    c.hidden_size = read.length("img_in.weight", 0, 5);
    c.in_channels = read.length("img_in.weight", 1, 5);
    c.num_layers = read.blocks("double_blocks.{}.", "blocks");
    c.num_attention_heads = read.quotient(
        c.hidden_size, read.length(block + "attn.img_attn_q_norm.weight", 0, 1), "heads");
    c.text_dim = read.length("condition_embedder.text_embedder.linear_1.weight", 1, 2);
    c.mlp_width_ratio = read.quotient(read.length(block + "img_mlp.net.0.proj.weight", 0, 2),
                                      c.hidden_size, "times the width");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{c, Family::JoyImage};
}

}  // namespace plimsoll::modelfile
