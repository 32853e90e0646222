// SPDX-License-Identifier: Apache-2.0
//
// VAEs of which few kinds were published, told by tensors that no other has: LTX, Cosmos 1,
// Mage-Flow, SeedVR2, Stable Video Diffusion. Their numbers are the catalogue's.
#include "modelfile/architectures.h"
#include "modelfile/detect_parts.h"

#include <array>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {
namespace {

std::optional<VaeConfig> known(std::string_view name) {
    auto config = known_vae(name);
    return config ? std::optional<VaeConfig>(*std::move(config)) : std::nullopt;
}

// ComfyUI tells versions by the width of the decoder's first block and by the encoder's first
// compression; those since by what the decoder has.
std::optional<VaeConfig> detect_ltx_vae(const TensorView& view) {
    constexpr int kFirstWidth = 512;
    if (view.has_any("decoder.det_stages.0.0.attn.qkv.")) return known("ltx2.5");
    const int width = view.axis("decoder.up_blocks.0.res_blocks.0.conv1.conv.weight", 0, 5);
    if (width == 0) return std::nullopt;
    if (width == kFirstWidth) return known("ltxv_0.9");
    if (!view.has("encoder.down_blocks.1.conv.conv.bias")) return known("ltxv_0.9.1");
    if (view.has_any("decoder.last_time_embedder.")) return known("ltxv_0.9.5");
    constexpr int kResidualsOfLtx2 = 5;
    const int residuals = view.below("decoder.up_blocks.0.").count("res_blocks.{}.");
    return known(residuals == kResidualsOfLtx2 ? "ltx2" : "ltx2.3");
}

}  // namespace

std::optional<VaeConfig> detect_published_vae(const TensorView& view) {
    if (auto ltx = detect_ltx_vae(view)) return ltx;
    // The tensor by which ComfyUI tells it.
    if (view.has("decoder.up_blocks.2.upsamplers.0.upscale_conv.weight")) return known("seedvr2");
    if (view.has("decoder.mid.block_1.mix_factor")) return known("svd");
    if (view.has("dconv_encoder.patch_cond_embed.weight")) return known("mage");
    if (view.has("dec_in_proj.weight") && view.has_any("decoder.model.0."))
        return known("minimax_music3");
    if (view.has("pre_block.attn.zero_k_bias")) return known("minimax_h3_audio");
    if (view.has("post_quant_conv.conv3d.weight") && view.has("decoder.conv_in.1.conv3d.weight"))
        return known("cosmos1");
    return std::nullopt;
}

std::optional<Part<VaeConfig>> detect_sound_vae(const TensorTable& table, Notes& notes) {
    for (const std::string_view prefix : {"audio_vae.", "autoencoder."}) {
        const TensorView view(table, std::string(prefix));
        if (!view.has("decoder.conv_in.conv.weight")) continue;
        const TensorView vocoder(table, "vocoder.");
        const bool two = vocoder.has_any("bwe_generator.");
        const auto known = known_vae_as<LtxAudioVaeConfig>(two ? "ltx2.3_audio" : "ltx2_audio");
        if (!known) return std::nullopt;
        const LtxAudioVaeConfig& published = *known;
        if (view.axis("decoder.conv_in.conv.weight", 1, 4) != published.coder.z_channels ||
            vocoder.axis(two ? "vocoder.conv_pre.weight" : "conv_pre.weight", 0, 3) !=
                published.vocoder.upsample_initial_channel) {
            notes.emplace_back("a VAE for sound like LTX-2's, of other widths");
            return std::nullopt;
        }
        WeightSum sum;
        for (const std::string& own :
             {std::string(prefix) + "encoder.", std::string(prefix) + "decoder.",
              std::string(prefix) + "per_channel_statistics.mean-of-means",
              std::string(prefix) + "per_channel_statistics.std-of-means", std::string("vocoder.")})
            for (const std::uint32_t at : table.with_prefix(own)) sum.add(table.tensors[at]);
        return Part<VaeConfig>{published, sum.total(), std::string(prefix)};
    }
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
