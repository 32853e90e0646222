// SPDX-License-Identifier: Apache-2.0
//
// AutoencoderKL (LDM and diffusers layouts) and TAESD.
#include "modelfile/detect_parts.h"

#include <algorithm>

namespace plimsoll::modelfile {
namespace {

// The LDM decoder counts its levels from the picture, diffusers from the latent.
struct DecoderLevels {
    std::vector<int> channels;  // from the picture to the latent
    int blocks = 0;             // ResBlocks in a level
};

DecoderLevels read_ldm_levels(const TensorView& decoder) {
    DecoderLevels levels;
    const int count = decoder.count("up.{}.");
    for (int i = 0; i < count; ++i)
        levels.channels.push_back(decoder.axis(fmt::format("up.{}.block.0.conv1.weight", i), 0, 4));
    levels.blocks = decoder.below("up.0.").count("block.{}.");
    return levels;
}

DecoderLevels read_diffusers_levels(const TensorView& decoder) {
    DecoderLevels levels;
    const int count = decoder.count("up_blocks.{}.");
    for (int i = count - 1; i >= 0; --i)
        levels.channels.push_back(
            decoder.axis(fmt::format("up_blocks.{}.resnets.0.conv1.weight", i), 0, 4));
    levels.blocks = decoder.below("up_blocks.0.").count("resnets.{}.");
    return levels;
}

// Every level but one doubles the picture by a convolution between equal channels; relatives that
// share the block names (HunyuanImage) fold pixels into channels instead.
bool has_plain_upsampling(const TensorView& decoder, int levels, bool is_ldm) {
    for (int i = 1; i < levels; ++i) {
        const std::string name = is_ldm
                                     ? fmt::format("up.{}.upsample.conv.weight", i)
                                     : fmt::format("up_blocks.{}.upsamplers.0.conv.weight", i - 1);
        const int channels = decoder.axis(name, 0, 4);
        if (channels == 0 || channels != decoder.axis(name, 1, 4)) return false;
    }
    return true;
}

}  // namespace

std::optional<KlVaeConfig> detect_kl_vae(const TensorView& view, Notes& notes) {
    const TensorView decoder = view.below("decoder.");
    const bool is_ldm = decoder.has("up.0.block.0.conv1.weight");
    if (!is_ldm && !decoder.has("up_blocks.0.resnets.0.conv1.weight")) {
        const TensorView encoder = view.below("encoder.");
        if (encoder.rank("conv_in.weight") == 4 && !view.has_any("decoder.") &&
            (encoder.has("down.0.block.0.conv1.weight") ||
             encoder.has("down_blocks.0.resnets.0.conv1.weight")))
            notes.emplace_back("the encoder half of a VAE alone, which ComfyUI does not load");
        return std::nullopt;
    }
    // Video VAEs share the names but convolve in 3-D, or stack frames.
    if (decoder.rank("conv_in.weight") != 4 || decoder.rank("conv_out.weight") != 4)
        return std::nullopt;
    if (decoder.has_any("up_blocks.0.resnets.0.temporal_res_block.") ||
        decoder.has_any("time_conv_out.")) {
        notes.emplace_back("VAE with a temporal decoder (video): not modelled");
        return std::nullopt;
    }
    const auto refuse = [&](std::string_view why) {
        notes.push_back(fmt::format("VAE below \"{}\" contradicts itself: {}", view.prefix(), why));
        return std::nullopt;
    };

    KlVaeConfig config;
    config.z_channels = decoder.axis("conv_in.weight", 1, 4);
    config.out_channels = decoder.axis("conv_out.weight", 0, 4);
    config.base_channels = decoder.axis("conv_out.weight", 1, 4);
    const DecoderLevels levels = is_ldm ? read_ldm_levels(decoder) : read_diffusers_levels(decoder);
    config.channel_mult.clear();
    for (const int channels : levels.channels) {
        if (config.base_channels == 0 || channels == 0 || channels % config.base_channels != 0)
            return refuse("channels of a decoder level are no multiple of the last convolution's");
        config.channel_mult.push_back(channels / config.base_channels);
    }
    if (!has_plain_upsampling(decoder, static_cast<int>(levels.channels.size()), is_ldm)) {
        notes.emplace_back(
            "a VAE like AutoencoderKL that scales up in another way, which is not modelled yet");
        return std::nullopt;
    }
    config.num_res_blocks = levels.blocks - 1;
    if (config.z_channels == 0 || config.out_channels == 0 || config.num_res_blocks < 1)
        return refuse("it lacks channels or ResBlocks");

    config.quant_conv = view.has("post_quant_conv.weight");
    config.embed_dim =
        config.quant_conv ? view.axis("post_quant_conv.weight", 1) : config.z_channels;
    // Flux 2: the latent's statistics, over 2 x 2 cells.
    config.batch_norm_latent = view.has("bn.running_mean");
    if (config.batch_norm_latent && view.axis("bn.running_mean", 0, 1) != 4 * config.embed_dim)
        return refuse("the statistics of its latent are not of 2 x 2 cells");
    const TensorView encoder = view.below("encoder.");
    config.has_encoder = encoder.has("conv_in.weight");
    if (config.has_encoder) {
        config.in_channels = encoder.axis("conv_in.weight", 1, 4);
        const int base = encoder.axis("conv_in.weight", 0, 4);
        if (base != config.base_channels) {  // a smaller decoder was trained for the same latent
            config.decoder_channels = config.base_channels;
            config.base_channels = base;
        }
        const int moments = encoder.axis("conv_out.weight", 0, 4);
        config.double_z = moments == 2 * config.z_channels;
        if (moments != config.z_channels && !config.double_z)
            return refuse(fmt::format("encoder ends in {} channels, latent has {}", moments,
                                      config.z_channels));
    }
    return config;
}

std::optional<TinyVaeConfig> detect_tiny_vae(const TensorView& view) {
    // Decoder alone (as published for vae_approx), both halves as ComfyUI joins them, and
    // diffusers' AutoencoderTiny.
    struct Place {
        std::string_view first_convolution;
        std::string_view first_block;
    };
    constexpr Place kPlaces[] = {
        {"taesd_decoder.1.weight", "taesd_decoder.3.conv.0.weight"},
        {"decoder.layers.0.weight", "decoder.layers.2.conv.0.weight"},
        {"decoder.1.weight", "decoder.3.conv.0.weight"},
        {"1.weight", "3.conv.0.weight"},
    };
    for (const Place& place : kPlaces) {
        const int latent = view.axis(place.first_convolution, 1, 4);
        if (latent > 0 &&
            view.axis(place.first_block, 0, 4) == view.axis(place.first_convolution, 0, 4))
            return TinyVaeConfig{latent};
    }
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
