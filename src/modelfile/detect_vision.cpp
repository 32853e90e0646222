// SPDX-License-Identifier: Apache-2.0
//
// Networks that see or enlarge pixels or latents: the vision halves of CLIP and SigLIP, ESRGAN and
// two other upscalers, LTX's latent upsamplers.
#include "modelfile/detect_numbers.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::modelfile {

namespace {

constexpr int kSideMax = 1 << 12;  // chosen: tokens or pixels along a side of any encoder's image

// The side of a square of so many; 0 where they are no square.
int side_of(int count) {
    const int side = static_cast<int>(std::lround(std::sqrt(static_cast<double>(count))));
    return side > 0 && side <= kSideMax && side * side == count ? side : 0;
}

// How the names go on in the two layouts of CLIP's files.
struct ClipLayout {
    std::string_view class_token;
    std::string_view patches;
    std::string_view positions;
    std::string_view projection;
    int projection_axis;  // of its width
    std::string_view first_mlp;
};
constexpr ClipLayout kTransformers{.class_token = "vision_model.embeddings.class_embedding",
                                   .patches = "vision_model.embeddings.patch_embedding.weight",
                                   .positions = "vision_model.embeddings.position_embedding.weight",
                                   .projection = "visual_projection.weight",
                                   .projection_axis = 0,
                                   .first_mlp = "vision_model.encoder.layers.0.mlp.fc1.weight"};
constexpr ClipLayout kOpenClip{.class_token = "class_embedding",
                               .patches = "conv1.weight",
                               .positions = "positional_embedding",
                               .projection = "proj",
                               .projection_axis = 1,
                               .first_mlp = "transformer.resblocks.0.mlp.c_fc.weight"};

std::optional<ClipVisionConfig> read_clip(const TensorView& view, const ClipLayout& layout,
                                          int layers, Notes& notes) {
    NumberReader read(view, "a CLIP vision encoder");
    ClipVisionConfig c;
    const bool has_class = view.has(layout.class_token);
    c.hidden = read.length(layout.patches, 0, 4);
    c.patch = read.length(layout.patches, 3, 4);
    const int tokens = read.length(layout.positions, 0, 2) - (has_class ? 1 : 0);
    c.image = side_of(tokens) * c.patch;
    read.expect(c.image > 0 && c.image <= kSideMax, "its tokens are no square of an image");
    c.intermediate = read.length(layout.first_mlp, 0, 2);
    c.layers = layers;
    c.projection = has_class ? read.length(layout.projection,
                                           static_cast<std::size_t>(layout.projection_axis), 2)
                             : 0;
    // Heads leave no trace in a file. As published: 16 of 64 (ViT-L), 80 (ViT-H), 104 (ViT-bigG)
    // and of 72 channels (SigLIP), 12 of 64 in the base sizes.
    constexpr int kBaseWidth = 768;
    c.heads = c.hidden == kBaseWidth ? 12 : 16;
    read.expect(c.hidden % c.heads == 0, "its width is no multiple of its heads");
    c.quick_gelu = has_class && c.hidden <= 1024;  // OpenAI's; those of LAION and Google: gelu
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace

std::optional<ClipVisionConfig> detect_clip_vision(const TensorView& view, Notes& notes) {
    const int layers = view.count("vision_model.encoder.layers.{}.");
    if (layers > 0 && view.rank(kTransformers.patches) == 4) {
        if (view.has("multi_modal_projector.linear_1.weight"))
            return not_modelled(notes, "LLaVA's vision encoder");
        return read_clip(view, kTransformers, layers, notes);
    }
    const int blocks = view.count("transformer.resblocks.{}.");
    if (blocks > 0 && view.rank(kOpenClip.patches) == 4)
        return read_clip(view, kOpenClip, blocks, notes);
    return std::nullopt;
}

int scale_of(const UpscalerConfig& config) {
    if (const auto* rrdb = std::get_if<RrdbConfig>(&config))
        return std::max(1, (1 << rrdb->doublings) / std::max(1, rrdb->unshuffle));
    if (const auto* compact = std::get_if<CompactConfig>(&config)) return compact->scale;
    return std::get<SpanConfig>(config).scale;
}

namespace {

constexpr int kDoublingsMax = 4;

// ESRGAN's names as its first checkpoints have them: 1 + 1 layers, three for each doubling, and
// three at the end.
std::optional<RrdbConfig> detect_first_rrdb(const TensorView& view, Notes& notes) {
    constexpr int kLayersPerDoubling = 3;
    constexpr int kLastOfNone = 4;  // the last layer's number without doublings
    NumberReader read(view, "an ESRGAN upscaler");
    int last = 0;
    for (int i = 0; i <= kLastOfNone + kLayersPerDoubling * kDoublingsMax; ++i)
        if (view.has(fmt::format("model.{}.weight", i))) last = i;
    RrdbConfig c;
    read.expect(last >= kLastOfNone && (last - kLastOfNone) % kLayersPerDoubling == 0,
                "its layers are in another order");
    c.doublings = (last - kLastOfNone) / kLayersPerDoubling;
    c.blocks = view.count("model.1.sub.{}.RDB1.");
    c.width = read.length("model.0.weight", 0, 4);
    c.growth = read.length("model.1.sub.0.RDB1.conv1.0.weight", 0, 4);
    c.colours = read.length(fmt::format("model.{}.weight", last), 0, 4);
    const int in = read.length("model.0.weight", 1, 4);
    if (c.colours > 0 && in != c.colours)
        c.unshuffle = side_of(read.quotient(in, c.colours, "channels of a pixel"));
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// And as BSRGAN, RealSR and Real-ESRGAN (`real`) have them.
std::optional<RrdbConfig> detect_later_rrdb(const TensorView& view, bool real, Notes& notes) {
    NumberReader read(view, "an ESRGAN upscaler");
    RrdbConfig c;
    for (const std::string_view name : {"conv_up{}.weight", "upconv{}.weight"})
        for (int i = 1; i <= kDoublingsMax; ++i)
            if (view.has(fmt::format(fmt::runtime(name), i))) c.doublings = i;
    c.blocks = real ? view.count("body.{}.rdb1.") : view.count("RRDB_trunk.{}.RDB1.");
    c.width = read.length("conv_first.weight", 0, 4);
    c.growth =
        read.length(real ? "body.0.rdb1.conv1.weight" : "RRDB_trunk.0.RDB1.conv1.weight", 0, 4);
    c.colours = read.length("conv_last.weight", 0, 4);
    const int in = read.length("conv_first.weight", 1, 4);
    if (c.colours > 0 && in != c.colours)
        c.unshuffle = side_of(read.quotient(in, c.colours, "channels of a pixel"));
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Channels that the last convolution makes of one pixel: colours times the square of the scale.
int shuffled_scale(int channels, int colours) {
    return colours > 0 && channels % colours == 0 ? side_of(channels / colours) : 0;
}

std::optional<CompactConfig> detect_compact(const TensorView& view, Notes& notes) {
    NumberReader read(view, "a compact Real-ESRGAN upscaler");
    // Convolutions have even numbers, what bends their results odd ones.
    const int layers = read.blocks("body.{}.", "layers");
    CompactConfig c;
    c.colours = read.length("body.0.weight", 1, 4);
    c.width = read.length("body.0.weight", 0, 4);
    c.convs = (layers - 3) / 2;
    read.expect(layers >= 3 && layers % 2 == 1, "its layers are in another order");
    const int shuffled = read.length(fmt::format("body.{}.weight", std::max(0, layers - 1)), 0, 4);
    c.scale = shuffled_scale(shuffled, c.colours);
    read.expect(c.scale > 0, "its last layer makes no whole pixels");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<SpanConfig> detect_span(const TensorView& view, Notes& notes) {
    NumberReader read(view, "a SPAN upscaler");
    SpanConfig c;
    c.colours = read.length("conv_1.sk.weight", 1, 4);
    c.width = read.length("conv_1.sk.weight", 0, 4);
    c.scale = shuffled_scale(read.length("upsampler.0.weight", 0, 4), c.colours);
    c.norm = !view.has("no_norm");
    read.expect(c.scale > 0, "its last layer makes no whole pixels");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Upscalers take and give red, green and blue, and ComfyUI's node hands out no others.
template <class Config>
std::optional<UpscalerConfig> of_colours(const std::optional<Config>& config, Notes& notes) {
    if (!config) return std::nullopt;
    constexpr int kColours = 3;
    if (config->colours == kColours && scale_of(*config) > 0) return *config;
    notes.push_back(
        fmt::format("an upscaler of {} colours, which is not modelled", config->colours));
    return std::nullopt;
}

}  // namespace

std::optional<UpscalerConfig> detect_upscaler(const TensorView& view, Notes& notes) {
    if (view.has("model.1.sub.0.RDB1.conv1x1.weight")) return not_modelled(notes, "ESRGAN+");
    if (view.has("model.1.sub.0.RDB1.conv1.0.weight"))
        return of_colours(detect_first_rrdb(view, notes), notes);
    const bool real = view.has("body.0.rdb1.conv1.weight");
    if ((real || view.has("RRDB_trunk.0.RDB1.conv1.weight")) && view.has("conv_last.weight"))
        return of_colours(detect_later_rrdb(view, real, notes), notes);
    if (view.has("conv_1.sk.weight") && view.has("block_6.c3_r.eval_conv.weight"))
        return of_colours(detect_span(view, notes), notes);
    // Numbered layers of a body are common: here each second one bends by a weight per channel.
    if (view.rank("body.0.weight") == 4 && view.rank("body.1.weight") == 1 &&
        view.rank("body.2.weight") == 4)
        return of_colours(detect_compact(view, notes), notes);
    return std::nullopt;
}

std::optional<LatentUpscalerConfig> detect_latent_upscaler(const TensorView& view, Notes& notes) {
    if (!view.has("post_upsample_res_blocks.0.conv2.bias")) return std::nullopt;
    NumberReader read(view, "a latent upsampler");
    LatentUpscalerConfig c;
    const auto rank = static_cast<std::size_t>(view.rank("initial_conv.weight"));
    read.expect(rank == 4 || rank == 5, "its first convolution has no two or three dimensions");
    c.dims = rank == 4 ? 2 : 3;
    c.mid_channels = read.length("initial_conv.weight", 0, rank);
    c.in_channels = read.length("initial_conv.weight", 1, rank);
    c.num_blocks_per_stage = read.blocks("res_blocks.{}.", "blocks");
    read.expect(view.count("post_upsample_res_blocks.{}.") == c.num_blocks_per_stage,
                "its halves have different numbers of blocks");
    c.rational_resampler = view.has("upsampler.conv.weight");
    const std::string_view spreads =
        c.rational_resampler ? "upsampler.conv.weight" : "upsampler.0.weight";
    // Over time, or time and space, the convolution sees neighbouring frames too.
    const auto spread_rank = static_cast<std::size_t>(view.rank(spreads));
    const int by = read.quotient(read.length(spreads, 0, spread_rank), c.mid_channels, "channels");
    if (c.rational_resampler) {
        const int side = side_of(by);
        // By 3/4 is the same in a file, and nobody published one.
        constexpr double kThreeHalves = 1.5;
        c.spatial_scale = side == 3 ? kThreeHalves : side;
        read.expect(side >= 2 && side <= 4, "it spreads a cell over no known number");
    } else {
        read.expect((spread_rank == 4 && by == 4) || (spread_rank == 5 && (by == 2 || by == 8)),
                    "it spreads a cell over no known number");
        c.temporal_upsample = spread_rank == 5;
        c.spatial_upsample = by != 2;
    }
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace plimsoll::modelfile
