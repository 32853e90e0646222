// SPDX-License-Identifier: Apache-2.0
//
// MiniMax H3, whole and with its embedding of time pruned to a table.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_minimax_h3(const TensorView& view, Notes& notes) {
    NumberReader read(view, "MiniMax H3");
    MiniMaxH3Config c;
    int cells = 1;
    for (const int side : c.patch_size) cells *= side;
    c.hidden_size = read.length("video_patch_proj.weight", 0, 2);
    c.latents_dim =
        read.quotient(read.length("video_patch_proj.weight", 1, 2), cells, "channels of a patch");
    c.audio_latents_dim = read.length("audio_patch_proj.weight", 1, 2);
    c.text_dim = read.length("condition_proj.weight", 1, 2);
    c.num_layers = read.blocks("blocks.{}.", "blocks");
    c.token_refiner_num_layers = read.blocks("token_refiner.blocks.{}.", "blocks of text");
    c.attention_head_dim = read.length("blocks.0.attn.q_norm.weight", 0, 1);
    c.num_attention_heads = read.quotient(read.length("blocks.0.attn.out_proj.weight", 1, 2),
                                          c.attention_head_dim, "channels of all heads");
    c.ffn_hidden_size = read.length("blocks.0.mlp.fc2.weight", 1, 2);
    c.time_embed_dim = read.length("blocks.0.adaln_proj.linear.weight", 1, 2);
    c.rope_inv_freq_len = read.length("rope.inv_freq", 0, 1);
    if (view.has("adaln_t_table")) {
        c.adaln_curve_grid = read.length("adaln_t_table", 0, 2);
    } else {
        c.timestep_input_dim = read.length("time_embedder.proj_in.weight", 1, 2);
        c.time_embed_hidden_size = read.length("time_embedder.proj_in.weight", 0, 2);
    }
    if (!read.sound(notes)) return std::nullopt;
    const TensorEntry* layer = view.find("blocks.0.attn.qkv_proj.weight");
    c.int8_blocks = layer != nullptr && layer->dtype == DType::Int8;
    return DetectedDenoiser{std::move(c), Family::MiniMaxH3};
}

}  // namespace plimsoll::modelfile
