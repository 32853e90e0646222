// SPDX-License-Identifier: Apache-2.0
//
// Transformers that store or compute a table of positions: Stable Diffusion 3, PixArt-Sigma.
#include "modelfile/detect_numbers.h"

#include <algorithm>

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_mmdit(const TensorView& view, Notes& notes) {
    constexpr int kHeadWidth = 64;  // Esser et al. 2024: as many heads as blocks, each of 64
    NumberReader read(view, "Stable Diffusion 3");
    MmditConfig c;
    const int hidden = read.length("x_embedder.proj.weight", 0, 4);
    c.in_channels = read.length("x_embedder.proj.weight", 1, 4);
    c.patch_size = read.length("x_embedder.proj.weight", 2, 4);
    c.depth = read.quotient(hidden, kHeadWidth, "heads");
    read.expect(c.depth == view.count("joint_blocks.{}."), "it has not as many blocks as heads");
    c.mlp_ratio = read.ratio(read.length("joint_blocks.0.x_block.mlp.fc1.weight", 0, 2), hidden);
    c.adm_in_channels = read.length_if_any("y_embedder.mlp.0.weight", 1, 2);
    c.context_embedder_config.params.in_features = read.length("context_embedder.weight", 1, 2);
    c.context_embedder_config.params.out_features = read.length("context_embedder.weight", 0, 2);
    c.qk_norm = view.has("joint_blocks.0.x_block.attn.ln_q.weight") ? "rms" : "";
    const int positions = read.length("pos_embed", 1, 3);
    c.pos_embed_max_size = static_cast<int>(std::lround(std::sqrt(positions)));
    read.expect(static_cast<std::int64_t>(c.pos_embed_max_size) * c.pos_embed_max_size == positions,
                "its table of positions is no square");
    if (!read.sound(notes)) return std::nullopt;
    for (int i = 0; i < c.depth; ++i)
        if (view.has(fmt::format("joint_blocks.{}.x_block.attn2.qkv.weight", i)))
            c.x_block_self_attn_layers.push_back(i);
    return DetectedDenoiser{std::move(c), Family::Sd3};
}

std::optional<DetectedDenoiser> detect_pixart(const TensorView& view, Notes& notes) {
    if (view.has("ar_embedder.mlp.0.weight")) return not_modelled(notes, "PixArt-Alpha");
    NumberReader read(view, "PixArt-Sigma");
    PixArtConfig c;
    c.num_heads = 16;  // of all that were published; no tensor shows it
    c.hidden_size = read.length("x_embedder.proj.weight", 0, 4);
    c.in_channels = read.length("x_embedder.proj.weight", 1, 4);
    c.patch_size = read.length("x_embedder.proj.weight", 2, 4);
    c.depth = read.blocks("blocks.{}.", "blocks");
    c.mlp_ratio = read.ratio(read.length("blocks.0.mlp.fc1.weight", 0, 2), c.hidden_size);
    c.caption_channels = read.length("y_embedder.y_proj.fc1.weight", 1, 2);
    c.model_max_length = read.length("y_embedder.y_embedding", 0, 2);
    c.qk_norm = view.has("blocks.0.attn.q_norm.weight");
    const int out = read.length("final_layer.linear.weight", 0, 2);
    constexpr int kPatchMax = 64;
    read.expect(c.patch_size <= kPatchMax, "its patches are too large");
    const std::int64_t side = std::min(c.patch_size, kPatchMax);
    const std::int64_t own = c.in_channels * side * side;
    c.pred_sigma = out == 2 * own;
    read.expect(c.pred_sigma || out == own, "its output is not of the latent's channels");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{c, Family::PixArtSigma};
}

}  // namespace plimsoll::modelfile
