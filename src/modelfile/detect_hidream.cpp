// SPDX-License-Identifier: Apache-2.0
//
// HiDream-I1, HiDream-O1-Image and PixelDiT.
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

std::optional<DetectedDenoiser> detect_hidream_o1(const TensorView& view, Notes& notes) {
    NumberReader read(view, "HiDream-O1-Image");
    HiDreamO1Config c;
    HiDreamO1TextConfig& text = c.text;
    constexpr std::string_view kLayer = "language_model.layers.0.";
    const auto first = [&](std::string_view name) { return fmt::format("{}{}", kLayer, name); };
    text.vocab_size = read.length("language_model.embed_tokens.weight", 0, 2);
    text.hidden_size = read.length("language_model.embed_tokens.weight", 1, 2);
    text.intermediate_size = read.length(first("mlp.gate_proj.weight"), 0, 2);
    text.num_hidden_layers = read.blocks("language_model.layers.{}.", "layers");
    text.head_dim = read.length(first("self_attn.q_norm.weight"), 0, 1);
    text.num_attention_heads =
        read.quotient(read.length(first("self_attn.q_proj.weight"), 0, 2), text.head_dim, "heads");
    text.num_key_value_heads = read.quotient(read.length(first("self_attn.k_proj.weight"), 0, 2),
                                             text.head_dim, "heads of keys");
    text.qkv_bias = view.has(first("self_attn.q_proj.bias"));
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::HiDreamO1};
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
