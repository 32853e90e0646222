// SPDX-License-Identifier: Apache-2.0
//
// HiDream, Kandinsky 5 and PixelDiT.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_hidream(const TensorView& view, Notes& notes) {
    constexpr int kPatch = 2;  // published; no tensor shows it
    NumberReader read(view, "HiDream");
    HiDreamConfig c;
    c.patch_size = kPatch;
    const int hidden = read.length("x_embedder.proj.weight", 0, 2);
    c.in_channels = read.quotient(read.length("x_embedder.proj.weight", 1, 2), kPatch * kPatch,
                                  "channels of a patch");
    c.out_channels = read.quotient(read.length("final_layer.linear.weight", 0, 2), kPatch * kPatch,
                                   "channels of a patch");
    c.num_layers = read.blocks("double_stream_blocks.{}.", "blocks of two streams");
    c.num_single_layers = read.blocks("single_stream_blocks.{}.", "blocks of one stream");
    // Its norms span all heads, which are as wide as the published rotary axes.
    c.num_attention_heads = read.quotient(hidden, c.attention_head_dim, "heads");
    c.text_emb_dim = read.length("p_embedder.pooled_embedder.linear_1.weight", 1, 2);
    c.num_routed_experts = read.blocks("double_stream_blocks.0.block.ff_i.experts.{}.", "experts");
    const int projections = read.blocks("caption_projection.{}.", "projections of text");
    read.expect(projections == c.num_layers + c.num_single_layers + 1,
                "it has not one projection of text a block and one for T5");
    const int llama = read.length("caption_projection.0.linear.weight", 1, 2);
    const int t5 = read.length(
        fmt::format("caption_projection.{}.linear.weight", projections > 0 ? projections - 1 : 0),
        1, 2);
    c.caption_channels = {t5, llama};
    read.expect(c.num_layers + c.num_single_layers == std::ssize(c.llama_layers),
                "its blocks are not as many as the layers of Llama that are known to feed them");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::HiDream};
}

std::optional<DetectedDenoiser> detect_kandinsky5(const TensorView& view, Notes& notes) {
    // Rotary axes and patches are published constants that no tensor shows.
    constexpr int kCells = 4;  // 1 x 2 x 2
    NumberReader read(view, "Kandinsky 5");
    Kandinsky5Config c;
    c.model_dim = read.length("visual_embeddings.in_layer.weight", 0, 2);
    c.visual_embed_dim = read.length("visual_embeddings.in_layer.weight", 1, 2);
    c.out_visual_dim =
        read.quotient(read.length("out_layer.out_layer.weight", 0, 2), kCells, "channels");
    c.in_visual_dim = c.out_visual_dim;
    // ComfyUI's mark of the image model: nothing but the latent goes in.
    if (c.visual_embed_dim != kCells * c.in_visual_dim)
        return not_modelled(notes, "Kandinsky 5 for video");
    c.in_text_dim = read.length("text_embeddings.in_layer.weight", 1, 2);
    c.in_text_dim2 = read.length("pooled_text_embeddings.in_layer.weight", 1, 2);
    c.time_dim = read.length("time_embeddings.out_layer.weight", 0, 2);
    constexpr std::string_view kFirst = "visual_transformer_blocks.0.";
    c.ff_dim = read.length(fmt::format("{}feed_forward.in_layer.weight", kFirst), 0, 2);
    c.num_text_blocks = read.blocks("text_transformer_blocks.{}.", "text blocks");
    c.num_visual_blocks = read.blocks("visual_transformer_blocks.{}.", "visual blocks");
    const int head = read.length(fmt::format("{}self_attention.query_norm.weight", kFirst), 0, 1);
    constexpr int kWideHead = 128;
    constexpr int kNarrowHead = 64;
    read.expect(head == kWideHead || head == kNarrowHead, "its heads are not of a known width");
    c.axes_dims = head == kWideHead ? std::vector{32, 48, 48} : std::vector{16, 24, 24};
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Kandinsky5Image};
}

std::optional<DetectedDenoiser> detect_pixeldit(const TensorView& view, Notes& notes) {
    if (view.has_any("lq_proj.")) return not_modelled(notes, "PixelDiT that decodes latents");
    NumberReader read(view, "PixelDiT");
    PixelDitConfig c;
    c.in_channels = read.length("pixel_embedder.proj.weight", 1, 2);
    c.pixel_hidden_size = read.length("pixel_embedder.proj.weight", 0, 2);
    c.hidden_size = read.length("s_embedder.proj.weight", 0, 2);
    const int cells = read.quotient(read.length("s_embedder.proj.weight", 1, 2), c.in_channels,
                                    "cells of a patch");
    c.patch_size = static_cast<int>(std::lround(std::sqrt(cells)));
    read.expect(c.patch_size * c.patch_size == cells, "its patches are no squares");
    c.num_groups = read.quotient(c.hidden_size,
                                 read.length("patch_blocks.0.attn.q_norm_x.weight", 0, 1), "heads");
    c.pixel_attn_hidden_size = read.length("pixel_blocks.0.compress_to_attn.weight", 0, 2);
    c.pixel_num_groups =
        read.quotient(c.pixel_attn_hidden_size,
                      read.length("pixel_blocks.0.attn.q_norm.weight", 0, 1), "heads of pixels");
    c.patch_depth = read.blocks("patch_blocks.{}.", "patch blocks");
    c.pixel_depth = read.blocks("pixel_blocks.{}.", "pixel blocks");
    c.txt_embed_dim = read.length("y_embedder.proj.weight", 1, 2);
    c.txt_max_length = read.length("y_pos_embedding", 1, 3);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::PixelDit};
}

}  // namespace plimsoll::modelfile
