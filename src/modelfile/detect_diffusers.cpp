// SPDX-License-Identifier: Apache-2.0
//
// Flux and Stable Diffusion 3 under diffusers' names, which ComfyUI renames as it loads: the same
// parameters, but queries, keys and values are layers of their own.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_diffusers_flux(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Flux");
    FluxConfig c;
    const int cells = c.patch_size * c.patch_size;
    c.hidden_size = read.length("x_embedder.weight", 0, 2);
    c.in_channels =
        read.quotient(read.length("x_embedder.weight", 1, 2), cells, "channels of a patch");
    c.out_channels =
        read.quotient(read.length("proj_out.weight", 0, 2), cells, "channels of a patch");
    c.num_heads = read.quotient(
        c.hidden_size, read.length("transformer_blocks.0.attn.norm_added_k.weight", 0, 1), "heads");
    c.mlp_ratio =
        read.ratio(read.length("transformer_blocks.0.ff.net.0.proj.weight", 0, 2), c.hidden_size);
    c.depth = read.blocks("transformer_blocks.{}.", "double blocks");
    c.depth_single_blocks = read.blocks("single_transformer_blocks.{}.", "single blocks");
    c.context_in_dim = read.length("context_embedder.weight", 1, 2);
    c.vec_in_dim = read.length("time_text_embed.text_embedder.linear_1.weight", 1, 2);
    c.qkv_bias = view.has("transformer_blocks.0.attn.to_q.bias");
    c.guidance_embed = view.has_any("time_text_embed.guidance_embedder.");
    if (!read.sound(notes)) return std::nullopt;
    const Family family = family_of(c);
    return DetectedDenoiser{std::move(c), family};
}

std::optional<DetectedDenoiser> detect_diffusers_mmdit(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Stable Diffusion 3");
    MmditConfig c;
    const int hidden = read.length("pos_embed.proj.weight", 0, 4);
    c.in_channels = read.length("pos_embed.proj.weight", 1, 4);
    c.patch_size = read.length("pos_embed.proj.weight", 2, 4);
    c.depth = read.blocks("transformer_blocks.{}.", "blocks");
    constexpr int kHeadWidth = 64;
    read.expect(c.depth * std::int64_t{kHeadWidth} == hidden, "it has not as many blocks as heads");
    c.mlp_ratio =
        read.ratio(read.length("transformer_blocks.0.ff.net.0.proj.weight", 0, 2), hidden);
    c.adm_in_channels = read.length("time_text_embed.text_embedder.linear_1.weight", 1, 2);
    c.context_embedder_config.params.in_features = read.length("context_embedder.weight", 1, 2);
    c.context_embedder_config.params.out_features = read.length("context_embedder.weight", 0, 2);
    c.qk_norm = view.has("transformer_blocks.0.attn.norm_q.weight") ? "rms" : "";
    const int positions = read.length("pos_embed.pos_embed", 1, 3);
    c.pos_embed_max_size = static_cast<int>(std::lround(std::sqrt(positions)));
    read.expect(static_cast<std::int64_t>(c.pos_embed_max_size) * c.pos_embed_max_size == positions,
                "its table of positions is no square");
    if (!read.sound(notes)) return std::nullopt;
    for (int i = 0; i < c.depth; ++i)
        if (view.has(fmt::format("transformer_blocks.{}.attn2.to_q.weight", i)))
            c.x_block_self_attn_layers.push_back(i);
    return DetectedDenoiser{std::move(c), Family::Sd3};
}

}  // namespace plimsoll::modelfile
