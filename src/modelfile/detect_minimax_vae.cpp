// SPDX-License-Identifier: Apache-2.0
//
// MiniMax-H3's VAE of videos: known by the names that its decoder's blocks have, taken only where
// the widths are the published ones.
#include "modelfile/detect_parts.h"
#include "modelfile/tensor_view.h"

#include <fmt/format.h>

#include <optional>
#include <vector>

namespace plimsoll::modelfile {

std::optional<MiniMaxVaeConfig> detect_minimax_vae(const TensorView& view) {
    MiniMaxVaeConfig published;
    const int width = published.decoder_num_attention_heads * published.decoder_attention_head_dim;
    if (view.axis("decoder.transformer_blocks.0.scale1", 0, 1) != width) return std::nullopt;
    const TensorView encoder = view.below("encoder.");
    std::vector<int> widths;
    const int levels = encoder.count("down.{}.");
    widths.reserve(static_cast<std::size_t>(levels));
    for (int i = 0; i < levels; ++i)
        widths.push_back(encoder.axis(fmt::format("down.{}.block.0.conv1.weight", i), 0, 5));
    const bool is_it =
        widths == published.block_out_channels &&
        view.count("decoder.transformer_blocks.{}.") == published.decoder_num_layers &&
        view.axis("post_quant_conv.weight", 0, 5) == published.latent_channels;
    if (!is_it) return std::nullopt;
    const TensorEntry* layer = view.find("decoder.transformer_blocks.0.ff.w1.weight");
    published.int8_decoder = layer != nullptr && layer->dtype == DType::Int8;
    return published;
}

}  // namespace plimsoll::modelfile
