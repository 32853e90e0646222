// SPDX-License-Identifier: Apache-2.0
//
// Cheap hints for files whose networks are not modelled: one tensor name that no other family has.
#include "modelfile/detect_parts.h"

#include <algorithm>
#include <array>

namespace plimsoll::modelfile {
namespace {

struct Hint {
    std::string_view
        tensor;  // how the name goes on after the prefix; the first that is there decides
    std::string_view family;
};

// In the order in which ComfyUI asks.
constexpr Hint kHints[] = {
    {"joint_blocks.0.context_block.attn.qkv.weight", "SD3"},
    {"clf.1.weight", "Stable Cascade"},
    {"transformer.rotary_pos_emb.inv_freq", "Stable Audio"},
    {"double_layers.0.attn.w1q.weight", "AuraFlow"},
    {"mlp_t5.0.weight", "HunyuanDiT"},
    {"txt_in.individual_token_refiner.blocks.0.norm1.weight", "HunyuanVideo"},
    {"double_stream_modulation_img.lin.weight", "Flux 2"},
    {"nerf_blocks.0.norm.scale", "Chroma Radiance"},
    {"nerf_blocks.0.norm.weight", "Chroma Radiance"},
    {"distilled_guidance_layer.in_proj.weight", "Chroma"},
    {"double_blocks.0.img_attn.norm.key_norm.scale", "Flux"},
    {"double_blocks.0.img_attn.norm.key_norm.weight", "Flux"},
    {"t5_yproj.weight", "Mochi"},
    {"audio_adaln_single.linear.weight", "LTX-2"},
    {"adaln_single.emb.timestep_embedder.linear_1.bias", "LTXV or PixArt"},
    {"genre_embedder.weight", "ACE-Step"},
    {"t_block.1.weight", "PixArt"},
    {"blocks.block0.blocks.0.block.attn.to_q.0.weight", "Cosmos 1"},
    {"cap_embedder.1.weight", "Lumina 2 or Z-Image"},
    {"head.modulation", "Wan 2.x"},
    {"caption_projection.0.linear.weight", "HiDream"},
    {"llm_adapter.blocks.0.cross_attn.q_proj.weight", "Anima"},
    {"blocks.0.mlp.layer1.weight", "Cosmos Predict 2"},
    {"double_stream_layers.0.img_instruct_attn.processor.img_to_q.weight", "Boogu"},
    {"time_caption_embed.timestep_embedder.linear_1.bias", "OmniGen 2"},
    {"txt_norm.weight", "Qwen-Image"},
    {"visual_transformer_blocks.0.cross_attention.key_norm.weight", "Kandinsky 5"},
    {"embed_image_indicator.weight", "Ideogram 4"},
    {"txtfusion.projector.weight", "Krea 2"},
    {"blocks.0.attn.proj_qkv.vid.weight", "SeedVR 2"},
    {"x_embedder.proj1.weight", "HiDream O1"},
    {"encoder.lyric_encoder.layers.0.self_attn.q_proj.weight", "ACE-Step 1.5"},
    {"video_patch_proj.weight", "MiniMax H3"},
    {"controlnet_blocks.0.weight", "a ControlNet of Flux or SD3"},
    {"encoder.block.0.layer.0.SelfAttention.k.weight", "a T5 text encoder"},
    {"model.layers.0.self_attn.k_proj.weight", "a language model as text encoder"},
    {"vision_model.encoder.layers.0.mlp.fc1.weight", "a vision encoder"},
    {"encoder.downsamples.0.residual.0.gamma", "a Wan VAE"},
    {"encoder.downsamples.0.downsamples.0.residual.0.gamma", "the Wan 2.2 VAE"},
    {"decoder.conv_in.conv.weight", "a video VAE"},
    {"model.1.sub.0.RDB1.conv1.0.weight", "an ESRGAN upscaler"},
    {"body.0.rdb1.conv1.weight", "an ESRGAN upscaler"},
};

constexpr std::array<std::string_view, 9> kPrefixes = {
    "",
    "model.diffusion_model.",
    "model.model.",
    "net.",
    "model.",
    "diffusion_model.",
    "transformer.",
    "text_encoders.t5xxl.transformer.",
    "text_encoder.",
};

// The names under which ComfyUI's adapters look for themselves.
constexpr std::array kLoraEndings = std::to_array<std::string_view>(
    {".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight",
     "_lora.down.weight", ".lora.down.weight", ".lora_linear_layer.down.weight",
     ".lora_A.default.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".oft_diag",
     ".a1.weight", ".dora_scale", ".diff"});

}  // namespace

std::string_view other_family_hint(const TensorTable& table) {
    for (const Hint& hint : kHints)
        for (const std::string_view prefix : kPrefixes)
            if (table.find(std::string(prefix) + std::string(hint.tensor)) != nullptr)
                return hint.family;
    return {};
}

bool looks_like_lora(const TensorTable& table) {
    return std::ranges::any_of(table.tensors, [](const TensorEntry& tensor) {
        return std::ranges::any_of(
            kLoraEndings, [&](std::string_view end) { return tensor.name.ends_with(end); });
    });
}

}  // namespace plimsoll::modelfile
