// SPDX-License-Identifier: Apache-2.0
//
// Cheap hints for files whose networks are not modelled: one tensor name that no other kind has.
// Diffusion networks have their own table (detect_transformer.cpp).
#include "modelfile/detect_parts.h"

#include <algorithm>
#include <array>

namespace plimsoll::modelfile {
namespace {

struct Hint {
    std::string_view
        tensor;  // how the name goes on after the prefix; the first that is there decides
    std::string_view network;
};

constexpr Hint kHints[] = {
    {"encoder.block.0.layer.0.SelfAttention.k.weight", "a T5 text encoder"},
    {"enc.blk.0.attn_k.weight", "a T5 text encoder under llama.cpp's names"},
    {"layers.0.self_attn.sinks", "GPT-OSS"},
    {"model.layers.0.self_attn.k_proj.weight", "a language model as text encoder"},
    {"blk.0.attn_k.weight", "a language model under llama.cpp's names"},
    {"vision_model.encoder.layers.0.mlp.fc1.weight", "a vision encoder"},
    {"visual.transformer.resblocks.0.mlp.c_fc.weight", "a vision encoder"},
    {"encoder.downsamples.0.residual.0.gamma", "a Wan VAE"},
    {"encoder.downsamples.0.downsamples.0.residual.0.gamma", "the Wan 2.2 VAE"},
    {"decoder.conv_in.conv.weight", "a video VAE"},
    // Upscalers as Spandrel tells them apart.
    {"layers.0.residual_group.overlap_attn.relative_position_bias_table", "a HAT upscaler"},
    {"layers.0.residual_group.blocks.0.attn.logit_scale", "a Swin2SR upscaler"},
    {"layers.0.residual_group.blocks.0.attn.aligned_relative_position_index",
     "an SRFormer upscaler"},
    {"layers.0.residual_group.blocks.0.norm1.weight", "a SwinIR upscaler"},
    {"layers.0.blocks.2.attn.attn_mask_0", "a DAT upscaler"},
    {"layers.0.residual_group.layers.0.attn_win.relative_position_bias_table", "an ATD upscaler"},
    {"residual_layer.0.residual_layer.0.layer.0.fn.0.weight", "an OmniSR upscaler"},
    {"feats.1.lk.conv.weight", "a PLKSR upscaler"},
    {"m_body.0.trans_block.msa.embedding_layer.weight", "an SCUNet restorer"},
    // What image and video nodes run besides.
    {"squeeze_module.0.conv_in.weight", "BiRefNet, which removes backgrounds"},
    {"feature_encoder.convnormrelu.0.weight", "RAFT, optical flow"},
    {"update_block.recurrent_block.convgru1.convz.weight", "RAFT, optical flow"},
    {"block0.conv0.0.0.weight", "RIFE, frame interpolation"},
    {"encoder.layer.0.layer_scale2.lambda1", "a DINOv2 vision encoder"},
    {"layer.0.layer_scale2.lambda1", "a DINOv3 vision encoder"},
    {"blocks.0.block.0.conv.weight", "HunyuanVideo 1.5's latent upsampler"},
    {"up.0.block.0.conv1.conv.weight", "HunyuanVideo 1.5's latent upsampler"},
};

constexpr std::array<std::string_view, 7> kPrefixes = {
    "",
    "model.",
    "transformer.",
    "text_encoders.t5xxl.transformer.",
    "text_encoder.",
    "vae.",
    "first_stage_model.",
};

// The names under which ComfyUI's adapters look for themselves.
constexpr std::array kLoraEndings = std::to_array<std::string_view>(
    {".lora_down.weight", ".lora_up.weight", ".lora_A.weight", ".lora_B.weight",
     "_lora.down.weight", ".lora.down.weight", ".lora_linear_layer.down.weight",
     ".lora_A.default.weight", ".hada_w1_a", ".lokr_w1", ".lokr_w1_a", ".oft_blocks", ".oft_diag",
     ".a1.weight", ".dora_scale", ".diff"});

}  // namespace

std::string_view other_network_hint(const TensorTable& table) {
    for (const Hint& hint : kHints)
        for (const std::string_view prefix : kPrefixes)
            if (table.find(std::string(prefix) + std::string(hint.tensor)) != nullptr)
                return hint.network;
    return {};
}

bool looks_like_lora(const TensorTable& table) {
    return std::ranges::any_of(table.tensors, [](const TensorEntry& tensor) {
        return std::ranges::any_of(
            kLoraEndings, [&](std::string_view end) { return tensor.name.ends_with(end); });
    });
}

}  // namespace plimsoll::modelfile
