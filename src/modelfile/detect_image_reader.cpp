// SPDX-License-Identifier: Apache-2.0
//
// Networks that look at images: BiRefNet, Depth Anything 3 for one image, MoGe 2, RT-DETRv4.
#include "modelfile/detect_numbers.h"
#include "modelfile/detect_parts.h"

#include <fmt/format.h>

#include <cmath>
#include <string>

namespace plimsoll::modelfile {
namespace {

constexpr int kHeadWidth = 64;  // of every DINOv2

std::optional<ImageReaderConfig> detect_birefnet(const TensorView& view, Notes& notes) {
    constexpr int kStages = 4;
    NumberReader read(view, "BiRefNet");
    BiRefNetConfig c;
    c.width = read.length("bb.patch_embed.proj.weight", 0, 4);
    c.depths.clear();
    c.heads.clear();
    int distances = 0;  // along a side of a window, in both directions
    for (int i = 0; i < kStages; ++i) {
        int blocks = 0;
        while (view.has_any(fmt::format("bb.layers.{}.blocks.{}.", i, blocks))) ++blocks;
        read.expect(blocks > 0, "one of its four stages has no blocks");
        c.depths.push_back(blocks);
        const std::string table =
            fmt::format("bb.layers.{}.blocks.0.attn.relative_position_bias_table", i);
        c.heads.push_back(read.length(table, 1, 2));
        const int side =
            static_cast<int>(std::lround(std::sqrt(static_cast<double>(read.length(table, 0, 2)))));
        read.expect(i == 0 || side == distances, "its stages have different windows");
        distances = side;
    }
    c.window = (distances + 1) / 2;
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

// Under ComfyUI's names, or (`plain`) as its authors published it.
DinoConfig read_dino(NumberReader& read, const TensorView& view, std::string_view prefix,
                     bool plain) {
    const auto at = [&](std::string_view name) { return fmt::format("{}{}", prefix, name); };
    DinoConfig c;
    const std::string patches =
        at(plain ? "patch_embed.proj.weight" : "embeddings.patch_embeddings.projection.weight");
    c.hidden = read.length(patches, 0, 4);
    c.patch = read.length(patches, 2, 4);
    c.heads = read.quotient(c.hidden, kHeadWidth, "heads");
    c.layers = 0;
    while (view.has_any(at(fmt::format("{}.{}.", plain ? "blocks" : "encoder.layer", c.layers))))
        ++c.layers;
    const int positions =
        read.length(at(plain ? "pos_embed" : "embeddings.position_embeddings"), 1, 3);
    c.grid = static_cast<int>(std::lround(std::sqrt(std::max(0, positions - 1))));
    read.expect(c.grid * c.grid + 1 == positions, "its positions are no square");
    c.mask_token = view.has(at(plain ? "mask_token" : "embeddings.mask_token"));
    // Others have gates in their MLPs, or tokens of their own.
    read.expect(
        view.has(at(fmt::format("{}.0.mlp.fc1.weight", plain ? "blocks" : "encoder.layer"))),
        "its blocks have another MLP, which is not modelled");
    read.expect(!view.has(at(plain ? "register_tokens" : "embeddings.register_tokens")),
                "it has register tokens, which are not modelled");
    return c;
}

std::optional<ImageReaderConfig> detect_depth_anything3(const TensorView& view, Notes& notes) {
    if (view.has("head.scratch.refinenet1_aux.out_conv.weight") ||
        view.has("backbone.embeddings.camera_token")) {
        notes.emplace_back("Depth Anything 3 for several views, which is not modelled yet");
        return std::nullopt;
    }
    NumberReader read(view, "Depth Anything 3");
    DepthAnything3Config c;
    c.backbone = read_dino(read, view, "backbone.", false);
    constexpr int kLarge = 24;
    // Of fewer layers none was published without a second head.
    read.expect(c.backbone.layers == kLarge, "its backbone has another number of layers");
    c.features = read.length("head.scratch.refinenet1.out_conv.weight", 0, 4);
    for (std::size_t i = 0; i < c.out_channels.size(); ++i)
        c.out_channels[i] = read.length(fmt::format("head.projects.{}.weight", i), 0, 4);
    c.outputs = read.length("head.scratch.output_conv2.2.weight", 0, 4);
    c.sky = view.has("head.scratch.sky_output_conv2.0.weight");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

ConvStackConfig read_stack(NumberReader& read, const TensorView& view, std::string_view prefix) {
    ConvStackConfig c;
    const auto at = [&](std::string_view name) { return fmt::format("{}.{}", prefix, name); };
    constexpr int kLevelsMax = 8;  // chosen: each doubles the sides
    for (int i = 0; i < kLevelsMax; ++i) {
        const std::string input = at(fmt::format("input_blocks.{}.weight", i));
        if (!view.has(input)) break;
        c.in.push_back(read.length(input, 1, 4));
        c.width.push_back(read.length(input, 0, 4));
        int blocks = 0;
        while (view.has_any(at(fmt::format("res_blocks.{}.{}.", i, blocks)))) ++blocks;
        c.blocks.push_back(blocks);
        c.out.push_back(read.length_if_any(at(fmt::format("output_blocks.{}.weight", i)), 0, 4));
        if (view.has_any(at(fmt::format("resamplers.{}.", i))))
            c.transpose.push_back(view.has(at(fmt::format("resamplers.{}.0.weight", i))) ? 1 : 0);
    }
    c.norm = false;
    for (std::size_t i = 0; i < c.blocks.size(); ++i)
        c.norm = c.norm || view.has(at(fmt::format("res_blocks.{}.0.layers.0.weight", i)));
    read.expect(!c.width.empty(), fmt::format("its {} has no levels", prefix));
    return c;
}

std::optional<ImageReaderConfig> detect_moge(const TensorView& view, Notes& notes) {
    NumberReader read(view, "MoGe 2");
    MogeConfig c;
    const bool plain = view.has("encoder.backbone.patch_embed.proj.weight");
    c.backbone = read_dino(read, view, "encoder.backbone.", plain);
    c.features = read.length("encoder.output_projections.0.weight", 0, 4);
    c.neck = read_stack(read, view, "neck");
    c.points = read_stack(read, view, "points_head");
    c.mask = read_stack(read, view, "mask_head");
    if (view.has_any("normal_head.")) c.normal = read_stack(read, view, "normal_head");
    c.scale_head.clear();
    constexpr int kLayersMax = 8;  // chosen: of a head that tells one number
    for (int i = 0; i < kLayersMax; ++i) {
        const std::string weight = fmt::format("scale_head.{}.weight", 2 * i);
        if (!view.has(weight)) break;
        if (i == 0) c.scale_head.push_back(read.length(weight, 1, 2));
        c.scale_head.push_back(read.length(weight, 0, 2));
    }
    read.expect(!c.scale_head.empty(), "it has no head for the scale");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

std::optional<ImageReaderConfig> detect_rt_detr(const TensorView& view, Notes& notes) {
    NumberReader read(view, "RT-DETRv4");
    RtDetrConfig c;
    c.hidden = read.length("encoder.pan_blocks.1.cv4.conv.weight", 0, 4);
    c.encoder_width = read.length("encoder.encoder.0.layers.0.linear1.weight", 0, 2);
    c.decoder_width = read.length("decoder.decoder.layers.0.linear1.weight", 0, 2);
    c.layers = read.blocks("decoder.decoder.layers.{}.", "decoder layers");
    c.classes = read.length("decoder.enc_score_head.weight", 0, 2);
    // Of the backbones of several sizes the largest only.
    constexpr int kLargest = 2048;
    read.expect(read.length("encoder.input_proj.2.conv.weight", 1, 4) == kLargest,
                "its backbone is another, which is not modelled");
    if (!read.sound(notes)) return std::nullopt;
    return c;
}

}  // namespace

std::optional<ImageReaderConfig> detect_image_reader(const TensorView& view, Notes& notes) {
    if (view.has("squeeze_module.0.conv_in.weight") &&
        view.has("bb.layers.0.blocks.0.attn.relative_position_bias_table"))
        return detect_birefnet(view, notes);
    if (view.has("backbone.embeddings.patch_embeddings.projection.weight") &&
        view.has("head.projects.0.weight"))
        return detect_depth_anything3(view, notes);
    if (view.has("encoder.pan_blocks.1.cv4.conv.weight")) return detect_rt_detr(view, notes);
    if (view.has("neck.input_blocks.0.weight") && view.has("points_head.input_blocks.0.weight"))
        return detect_moge(view, notes);
    return std::nullopt;
}

}  // namespace plimsoll::modelfile
