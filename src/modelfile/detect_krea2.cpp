// SPDX-License-Identifier: Apache-2.0
//
// Single streams of 2026 that read several layers of a language model: Krea 2, Ideogram 4; and
// ERNIE-Image.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_krea2(const TensorView& view, Notes& notes) {
    constexpr int kPatch = 2;  // published; no tensor shows it
    NumberReader read(view, "Krea 2");
    Krea2Config c;
    c.patch = kPatch;
    c.features = read.length("first.weight", 0, 2);
    c.channels =
        read.quotient(read.length("first.weight", 1, 2), kPatch * kPatch, "channels of a patch");
    c.tdim = read.length("tmlp.0.weight", 1, 2);
    c.layers = read.blocks("blocks.{}.", "blocks");
    const int head = read.length("blocks.0.attn.qknorm.qnorm.scale", 0, 1);
    c.heads = read.quotient(c.features, head, "heads");
    c.kvheads = read.quotient(read.length("blocks.0.attn.wk.weight", 0, 2), head, "heads of keys");
    c.bias = view.has("blocks.0.attn.wq.bias");
    // Rounded up, so the quotient rounded down is the multiplier again.
    const int two_thirds = 2 * c.features / 3;
    const int mlp = read.length("blocks.0.mlp.up.weight", 0, 2);
    c.multiplier = two_thirds > 0 ? mlp / two_thirds : 0;
    c.txtlayers = read.length("txtfusion.projector.weight", 1, 2);
    c.txtdim = read.length("txtmlp.1.weight", 1, 2);
    const int text_head = read.length("txtfusion.refiner_blocks.0.attn.qknorm.qnorm.scale", 0, 1);
    c.txtheads = read.quotient(c.txtdim, text_head, "heads of text");
    c.txtkvheads = read.quotient(read.length("txtfusion.refiner_blocks.0.attn.wk.weight", 0, 2),
                                 text_head, "heads of text keys");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Krea2};
}

std::optional<DetectedDenoiser> detect_ideogram4(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Ideogram 4");
    Ideogram4Config c;
    c.in_channels = read.length("input_proj.weight", 1, 2);
    c.num_layers = read.blocks("layers.{}.", "layers");
    c.attention_head_dim = read.length("layers.0.attention.norm_q.weight", 0, 1);
    c.num_attention_heads =
        read.quotient(read.length("input_proj.weight", 0, 2), c.attention_head_dim, "heads");
    c.intermediate_size = read.length("layers.0.feed_forward.w1.weight", 0, 2);
    c.adaln_dim = read.length("adaln_proj.weight", 0, 2);
    c.llm_features_dim = read.length("llm_cond_proj.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::Ideogram4};
}

std::optional<DetectedDenoiser> detect_ernie(const TensorView& view, Notes& notes) {
    NumberReader read(view, "ERNIE-Image");
    ErnieConfig c;
    c.hidden_size = read.length("x_embedder.proj.weight", 0, 4);
    c.in_channels = read.length("x_embedder.proj.weight", 1, 4);
    c.patch_size = read.length("x_embedder.proj.weight", 2, 4);
    c.out_channels = read.quotient(read.length("final_linear.weight", 0, 2),
                                   c.patch_size * c.patch_size, "channels of a patch");
    c.num_layers = read.blocks("layers.{}.", "layers");
    c.num_attention_heads = read.quotient(
        c.hidden_size, read.length("layers.0.self_attention.norm_q.weight", 0, 1), "heads");
    c.ffn_hidden_size = read.length("layers.0.mlp.up_proj.weight", 0, 2);
    c.text_in_dim = read.length("text_proj.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::ErnieImage};
}

}  // namespace plimsoll::modelfile
