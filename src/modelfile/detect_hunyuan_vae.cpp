// SPDX-License-Identifier: Apache-2.0
//
// The VAEs of HunyuanVideo, HunyuanVideo 1.5, HunyuanImage 2.1 and its refiner: known by the names
// and ranks of their convolutions, taken only where the widths are the published ones.
#include "modelfile/detect_parts.h"

#include <fmt/format.h>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {
namespace {

// Widths of the encoder's levels, from pixels to the latent. `convolution`: how a block's first
// weight is called.
std::vector<int> encoder_widths(const TensorView& encoder, std::string_view convolution,
                                std::size_t rank) {
    std::vector<int> widths;
    const int count = encoder.count("down.{}.");
    widths.reserve(static_cast<std::size_t>(count));
    for (int i = 0; i < count; ++i)
        widths.push_back(encoder.axis(fmt::format("down.{}.block.0.{}", i, convolution), 0, rank));
    return widths;
}

bool has_blocks(const TensorView& encoder, int blocks) {
    return encoder.below("down.0.").count("block.{}.") == blocks;
}

std::optional<VaeConfig> detect_video(const TensorView& view) {
    const HunyuanVideoVaeConfig published;
    const TensorView encoder = view.below("encoder.");
    const std::vector<int> widths = encoder_widths(encoder, "conv1.conv.weight", 5);
    std::vector<int> expected;
    expected.reserve(published.ch_mult.size());
    for (const int mult : published.ch_mult) expected.push_back(mult * published.ch);
    const bool is_it = view.axis("quant_conv.weight", 0, 5) == 2 * published.z_channels &&
                       widths == expected && has_blocks(encoder, published.num_res_blocks);
    return is_it ? std::optional<VaeConfig>(published) : std::nullopt;
}

struct PixelVaePlace {
    PixelVaeConfig config;
    std::string_view latent;       // the decoder's first convolution
    std::string_view convolution;  // of a block
    std::size_t rank;
};

std::vector<PixelVaePlace> pixel_places() {
    PixelVaeConfig video;
    video.z_channels = 32;
    video.block_out_channels = {128, 256, 512, 1024, 1024};
    video.ffactor_spatial = 16;
    video.ffactor_temporal = 4;
    PixelVaeConfig refiner = video;
    refiner.refiner_vae = false;
    return {{{}, "conv_in.weight", "conv1.weight", 4},
            {video, "conv_in.conv.weight", "conv1.conv.weight", 5},
            {refiner, "conv_in.weight", "conv1.weight", 5}};
}

}  // namespace

std::optional<VaeConfig> detect_hunyuan_vae(const TensorView& view) {
    if (auto video = detect_video(view)) return video;
    const TensorView encoder = view.below("encoder.");
    const TensorView decoder = view.below("decoder.");
    for (const PixelVaePlace& place : pixel_places()) {
        const PixelVaeConfig& c = place.config;
        if (decoder.axis(place.latent, 1, place.rank) == c.z_channels &&
            !view.has("quant_conv.weight") && has_blocks(encoder, c.num_res_blocks) &&
            encoder_widths(encoder, place.convolution, place.rank) == c.block_out_channels)
            return c;
    }
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
