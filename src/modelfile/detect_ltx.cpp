// SPDX-License-Identifier: Apache-2.0
//
// LTX-Video, and LTX-2 with its sound.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

namespace {

constexpr int kHeads = 32;  // of all that were published

struct Heads {
    int count = 0;
    int width = 0;
};
// Of a connector's attention: a gate for each, else of the published width.
Heads connector_heads(NumberReader& read, std::string_view connector) {
    constexpr int kHeadWidth = 128;
    const std::string name(connector);
    const int width = read.length(name + ".learnable_registers", 1, 2);
    const int gates =
        read.length_if_any(name + ".transformer_1d_blocks.0.attn1.to_gate_logits.weight", 0, 2);
    if (gates > 0) return {gates, read.quotient(width, gates, "channels of a connector's head")};
    return {read.quotient(width, kHeadWidth, "heads of a connector"), kHeadWidth};
}

}  // namespace

std::optional<DetectedDenoiser> detect_ltxv(const TensorView& view, Notes& notes) {
    NumberReader read(view, "LTX-Video");
    LtxvConfig c;
    c.in_channels = read.length("patchify_proj.weight", 1, 2);
    c.num_attention_heads = kHeads;
    c.attention_head_dim =
        read.quotient(read.length("patchify_proj.weight", 0, 2), kHeads, "channels of a head");
    c.cross_attention_dim = read.length("transformer_blocks.0.attn2.to_k.weight", 1, 2);
    c.caption_channels = read.length("caption_projection.linear_1.weight", 1, 2);
    c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Ltxv};
}

std::optional<DetectedDenoiser> detect_ltxav(const TensorView& view, Notes& notes) {
    NumberReader read(view, "LTX-2");
    LtxavConfig c;
    c.in_channels = read.length("patchify_proj.weight", 1, 2);
    c.audio_in_channels = read.length("audio_patchify_proj.weight", 1, 2);
    c.num_attention_heads = c.audio_num_attention_heads = kHeads;
    c.attention_head_dim =
        read.quotient(read.length("patchify_proj.weight", 0, 2), kHeads, "channels of a head");
    c.audio_attention_head_dim = read.quotient(read.length("audio_patchify_proj.weight", 0, 2),
                                               kHeads, "channels of a head for sound");
    c.cross_attention_dim = read.length("transformer_blocks.0.attn2.to_k.weight", 1, 2);
    c.audio_cross_attention_dim = read.length("transformer_blocks.0.audio_attn2.to_k.weight", 1, 2);
    c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
    const bool text_before = !view.has("caption_projection.linear_1.weight");
    c.caption_proj_before_connector = text_before;
    c.caption_projection_first_linear = !text_before;
    if (!text_before) c.caption_channels = read.length("caption_projection.linear_1.weight", 1, 2);
    c.apply_gated_attention = view.has("transformer_blocks.0.attn1.to_gate_logits.weight");
    c.cross_attention_adaln = view.has_any("prompt_adaln_single.");
    // LTX 2.5.
    c.ff_bias = view.has("transformer_blocks.0.ff.net.2.bias");
    c.audio_ff_bias = view.has("transformer_blocks.0.audio_ff.net.2.bias");
    c.use_keyframes_abs_pos_embedding = view.has("keyframes_abs_pos_embedding");
    c.connector_apply_gated_attention =
        view.has("video_embeddings_connector.transformer_1d_blocks.0.attn1.to_gate_logits.weight");
    c.connector_num_layers =
        read.blocks("video_embeddings_connector.transformer_1d_blocks.{}.", "connector's blocks");
    const Heads video = connector_heads(read, "video_embeddings_connector");
    const Heads audio = connector_heads(read, "audio_embeddings_connector");
    c.connector_num_attention_heads = video.count;
    c.connector_attention_head_dim = video.width;
    c.audio_connector_num_attention_heads = audio.count;
    c.audio_connector_attention_head_dim = audio.width;
    // As published: no tensor tells.
    c.causal_temporal_positioning = c.use_middle_indices_grid = true;
    c.rope_type = "split";
    c.frequencies_precision = "float64";
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Ltxav};
}

}  // namespace plimsoll::modelfile
