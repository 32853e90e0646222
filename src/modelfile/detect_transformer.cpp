// SPDX-License-Identifier: Apache-2.0
//
// Which diffusion transformer a file holds, asked in ComfyUI's order: the first row whose tensors
// are there decides. A network that Plimsoll does not walk has no detector, and gets a note.
#include "modelfile/detect_parts.h"

#include <array>

namespace plimsoll::modelfile {
namespace {

struct Row {
    std::string_view mark;
    std::string_view name;
    DetectDenoiser* detect = nullptr;
    std::string_view second_mark = {};
};

constexpr Row kRows[] = {
    // ControlNets share their blocks with the network that they control.
    {"controlnet_blocks.0.weight", "a ControlNet of a transformer"},
    {"control_all_x_embedder.2-1.weight", "a ControlNet of Z-Image"},
    {"joint_blocks.0.context_block.attn.qkv.weight", "Stable Diffusion 3", detect_mmdit},
    {"clf.1.weight", "Stable Cascade"},
    {"transformer.rotary_pos_emb.inv_freq", "Stable Audio", detect_stable_audio},
    {"diffusion_transformer.transformer.rotary_pos_emb.inv_freq", "MiniMax Music 3",
     detect_minimax_music3},
    {"double_layers.0.attn.w1q.weight", "AuraFlow"},
    {"mlp_t5.0.weight", "HunyuanDiT"},
    {"txt_in.individual_token_refiner.blocks.0.norm1.weight", "HunyuanVideo", detect_hunyuan_video},
    {"distilled_guidance_layer.in_proj.weight", "Chroma", detect_chroma},
    {"double_blocks.0.img_attn.norm.key_norm.scale", "Flux", detect_flux, "img_in.weight"},
    {"double_blocks.0.img_attn.norm.key_norm.weight", "Flux", detect_flux, "img_in.weight"},
    {"t5_yproj.weight", "Mochi"},
    {"audio_adaln_single.linear.weight", "LTX-2", detect_ltxav},
    {"adaln_single.emb.timestep_embedder.linear_1.bias", "PixArt under diffusers' names", nullptr,
     "pos_embed.proj.bias"},
    {"adaln_single.emb.timestep_embedder.linear_1.bias", "LTX-Video", detect_ltxv},
    {"genre_embedder.weight", "ACE-Step", detect_ace_step},
    {"t_block.1.weight", "PixArt", detect_pixart},
    {"blocks.block0.blocks.0.block.attn.to_q.0.weight", "Cosmos 1"},
    {"cap_embedder.1.weight", "Lumina 2 or Z-Image", detect_lumina2},
    {"head.modulation", "Wan", detect_wan},
    {"latent_in.weight", "Hunyuan3D"},
    {"caption_projection.0.linear.weight", "HiDream", detect_hidream},
    {"blocks.0.mlp.layer1.weight", "Cosmos-Predict2", detect_cosmos_predict2},
    {"double_stream_layers.0.img_instruct_attn.processor.img_to_q.weight", "Boogu", detect_boogu},
    {"time_caption_embed.timestep_embedder.linear_1.bias", "OmniGen 2", detect_omnigen2},
    {"txt_norm.weight", "Qwen-Image", detect_qwen_image},
    {"double_blocks.0.attn.img_attn_q_norm.weight", "JoyAI-Image-Edit", detect_joyimage},
    {"visual_transformer_blocks.0.cross_attention.key_norm.weight", "Kandinsky 5",
     detect_kandinsky5},
    {"embed_image_indicator.weight", "Ideogram 4", detect_ideogram4},
    {"txtfusion.projector.weight", "Krea 2", detect_krea2},
    {"layers.0.adaLN_sa_ln.weight", "ERNIE-Image", detect_ernie},
    {"pixel_embedder.proj.weight", "PixelDiT", detect_pixeldit},
    {"vid_in.proj.weight", "SeedVR 2", detect_seedvr2},
    {"x_embedder.proj1.weight", "HiDream O1", detect_hidream_o1},
    {"encoder.lyric_encoder.layers.0.self_attn.q_proj.weight", "ACE-Step 1.5", detect_ace_step15},
    {"video_patch_proj.weight", "MiniMax H3", detect_minimax_h3},
    // Formats under other names.
    {"transformer_blocks.0.attn.norm_added_k.weight", "Flux", detect_diffusers_flux,
     "x_embedder.weight"},
    {"transformer_blocks.0.attn.add_q_proj.weight", "Stable Diffusion 3", detect_diffusers_mmdit,
     "pos_embed.pos_embed"},
    {"transformer_blocks.0.qkv_proj.qweight", "a network quantised by SVDQuant"},
    {"transformer_blocks.0.attn.to_qkv.qweight", "a network quantised by SVDQuant"},
};

}  // namespace

TransformerVerdict detect_transformer(const TensorView& view, Notes& notes) {
    for (const Row& row : kRows) {
        if (!view.has(row.mark)) continue;
        if (!row.second_mark.empty() && !view.has(row.second_mark)) continue;
        if (row.detect != nullptr) return {.is_there = true, .denoiser = row.detect(view, notes)};
        notes.push_back(fmt::format("looks like {}, which is not modelled yet", row.name));
        return {.is_there = true, .denoiser = std::nullopt};
    }
    return {};
}

}  // namespace plimsoll::modelfile
