// SPDX-License-Identifier: Apache-2.0
//
// Qwen-Image with its edit models, Mage-Flow, Cosmos-Predict2 and Anima.
#include "modelfile/detect_numbers.h"

namespace plimsoll::modelfile {

std::optional<DetectedDenoiser> detect_qwen_image(const TensorView& view, Notes& notes) {
    constexpr int kMageFlowText = 2560;
    if (view.axis("txt_norm.weight", 0, 1) == kMageFlowText) return detect_mage_flow(view, notes);
    if (view.has_any("txt_in.text_norm.")) return not_modelled(notes, "Qwen-Image 2.1");
    if (view.has("transformer_blocks.0.img_mlp.w1.weight")) return not_modelled(notes, "Lens");
    NumberReader read(view, "Qwen-Image");
    QwenImageConfig c;
    c.use_additional_t_cond = view.has("time_text_embed.addition_t_embedding.weight");
    const int hidden = read.length("img_in.weight", 0, 2);
    c.in_channels = read.length("img_in.weight", 1, 2);
    c.out_channels = read.quotient(read.length("proj_out.weight", 0, 2),
                                   c.patch_size * c.patch_size, "channels of a patch");
    c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
    c.attention_head_dim = read.length("transformer_blocks.0.attn.norm_q.weight", 0, 1);
    c.num_attention_heads = read.quotient(hidden, c.attention_head_dim, "heads");
    c.joint_attention_dim = read.length("txt_in.weight", 1, 2);
    // An empty tensor that Edit 2511 carries as a mark.
    if (view.has("__index_timestep_zero__")) c.default_ref_method = "index_timestep_zero";
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::QwenImage};
}

std::optional<DetectedDenoiser> detect_mage_flow(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Mage-Flow");
    MageFlowConfig c;
    const int hidden = read.length("img_in.weight", 0, 2);
    c.in_channels = read.length("img_in.weight", 1, 2);
    c.out_channels = read.length("proj_out.weight", 0, 2);
    c.num_layers = read.blocks("transformer_blocks.{}.", "blocks");
    c.attention_head_dim = read.length("transformer_blocks.0.attn.norm_q.weight", 0, 1);
    c.num_attention_heads = read.quotient(hidden, c.attention_head_dim, "heads");
    c.joint_attention_dim = read.length("txt_in.weight", 1, 2);
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), Family::MageFlow};
}

std::optional<DetectedDenoiser> detect_cosmos_predict2(const TensorView& view, Notes& notes) {
    NumberReader read(view, "Cosmos-Predict2");
    CosmosPredict2Config c;
    const bool is_anima = view.has("llm_adapter.blocks.0.cross_attn.q_proj.weight");
    if (is_anima) c.image_model = "anima";
    const int cells = c.patch_spatial * c.patch_spatial * c.patch_temporal;
    c.model_channels = read.length("x_embedder.proj.1.weight", 0, 2);
    // One channel more than the latent's: the mask of padding.
    c.in_channels =
        read.quotient(read.length("x_embedder.proj.1.weight", 1, 2), cells, "channels of a patch") -
        1;
    c.out_channels =
        read.quotient(read.length("final_layer.linear.weight", 0, 2), cells, "channels of a patch");
    c.num_blocks = read.blocks("blocks.{}.", "blocks");
    c.num_heads = read.quotient(read.length("blocks.0.self_attn.q_proj.weight", 0, 2),
                                read.length("blocks.0.self_attn.q_norm.weight", 0, 1), "heads");
    c.mlp_ratio = read.ratio(read.length("blocks.0.mlp.layer1.weight", 0, 2), c.model_channels);
    c.crossattn_emb_channels = read.length("blocks.0.cross_attn.k_proj.weight", 1, 2);
    c.use_adaln_lora = view.has("blocks.0.adaln_modulation_mlp.2.weight");
    c.adaln_lora_dim = read.length("blocks.0.adaln_modulation_mlp.1.weight", 0, 2);
    c.extra_per_block_abs_pos_emb = view.has_any("extra_pos_embedder.");
    if (!read.sound(notes)) return std::nullopt;
    return DetectedDenoiser{std::move(c), is_anima ? Family::Anima : Family::CosmosPredict2};
}

}  // namespace plimsoll::modelfile
