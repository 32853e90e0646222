// SPDX-License-Identifier: Apache-2.0
//
// Kandinsky 5, image and video.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_kandinsky5(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Kandinsky 5");
    Kandinsky5Config c;
    int cells = 1;
    for (const int side : c.patch_size) cells *= side;
    c.time_dim = read.length("time_embeddings.in_layer.weight", 0, 2);
    c.model_dim = read.length("time_embeddings.in_layer.weight", 1, 2);
    c.in_text_dim = read.length("text_embeddings.in_layer.weight", 1, 2);
    c.in_text_dim2 = read.length("pooled_text_embeddings.in_layer.weight", 1, 2);
    c.visual_embed_dim = read.length("visual_embeddings.in_layer.weight", 1, 2);
    c.out_visual_dim = read.quotient(read.length("out_layer.out_layer.weight", 0, 2), cells,
                                     "channels of a patch");
    c.in_visual_dim = c.out_visual_dim;
    c.ff_dim = read.length("visual_transformer_blocks.0.feed_forward.in_layer.weight", 0, 2);
    c.num_text_blocks = read.blocks("text_transformer_blocks.{}.", "blocks of text");
    c.num_visual_blocks = read.blocks("visual_transformer_blocks.{}.", "blocks");
    // Two eighths of a head tell the frame, three each the row and the column.
    constexpr int kParts = 8;
    const int part = read.quotient(
        read.length("visual_transformer_blocks.0.self_attention.query_norm.weight", 0, 1), kParts,
        "channels of a head");
    c.axes_dims = {2 * part, 3 * part, 3 * part};
    if (!read.sound(notes)) return std::nullopt;
    // A video comes with the latent of an image and its mask.
    const bool video = c.visual_embed_dim > c.in_visual_dim * cells;
    return DetectedDenoiser{std::move(c), video ? Family::Kandinsky5 : Family::Kandinsky5Image};
}

}  // namespace plimsoll::modelfile
