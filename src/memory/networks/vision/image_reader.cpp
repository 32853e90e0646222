// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vision/image_reader.h"

#include "memory/networks/calls.h"
#include "memory/networks/limits.h"
#include "memory/networks/vision/birefnet.h"
#include "memory/networks/vision/depth_anything3.h"
#include "memory/networks/vision/moge.h"
#include "memory/networks/vision/rt_detr.h"
#include "memory/networks/vision/sam3.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory {

namespace {

using Built = Result<std::shared_ptr<const ImageReader>>;

bool positive(const std::vector<int>& values, int max) {
    return std::ranges::all_of(values, [&](int value) { return within(value, 1, max); });
}

bool sound(const modelfile::DinoConfig& c) {
    return within(c.hidden, 1, kWidthMax) && within(c.layers, 1, kDepthMax) &&
           within(c.heads, 1, c.hidden) && c.hidden % c.heads == 0 && within(c.patch, 1, 64) &&
           within(c.grid, 1, kWidthMax);
}

bool sound(const modelfile::ConvStackConfig& c) {
    const std::size_t levels = c.width.size();
    return levels > 0 && levels <= 8 && c.in.size() == levels && c.blocks.size() == levels &&
           c.out.size() == levels && c.transpose.size() + 1 == levels &&
           positive(c.in, kWidthMax) && positive(c.width, kWidthMax) &&
           std::ranges::all_of(c.blocks, [](int n) { return within(n, 0, kDepthMax); }) &&
           std::ranges::all_of(c.out, [](int n) { return within(n, 0, kWidthMax); });
}

Built build(const modelfile::BiRefNetConfig& c) {
    constexpr std::size_t kStages = 4;
    bool good = within(c.width, 1, kWidthMax / 16) && within(c.window, 1, 64) &&
                c.depths.size() == kStages && c.heads.size() == kStages &&
                positive(c.depths, kDepthMax) && positive(c.heads, kWidthMax);
    for (std::size_t i = 0; good && i < kStages; ++i) good = (c.width << i) % c.heads[i] == 0;
    if (!good)
        return fail(Errc::InvalidInput, fmt::format("BiRefNet of width {} cannot be", c.width));
    return std::make_shared<const BiRefNetNetwork>(c);
}

Built build(const modelfile::DepthAnything3Config& c) {
    constexpr std::size_t kLayers = 4;
    const bool good =
        sound(c.backbone) && c.out_layers.size() == kLayers && c.out_channels.size() == kLayers &&
        std::ranges::is_sorted(c.out_layers) &&
        std::ranges::all_of(c.out_layers,
                            [&](int l) { return within(l, 0, c.backbone.layers - 1); }) &&
        positive(c.out_channels, kWidthMax) && within(c.features, 2, kWidthMax) &&
        within(c.outputs, 1, 2);
    if (!good)
        return fail(Errc::InvalidInput,
                    fmt::format("Depth Anything 3 of width {} with {} layers cannot be",
                                c.backbone.hidden, c.backbone.layers));
    return std::make_shared<const DepthAnything3Network>(c);
}

Built build(const modelfile::MogeConfig& c) {
    constexpr int kSeen = 4;  // of the backbone's layers
    const std::size_t levels = c.neck.width.size();
    const auto fits = [&](const modelfile::ConvStackConfig& head) {
        return sound(head) && head.width.size() == levels;
    };
    const bool good = sound(c.backbone) && c.backbone.layers >= kSeen &&
                      within(c.features, 1, kWidthMax) && sound(c.neck) && fits(c.points) &&
                      fits(c.mask) && (c.normal.width.empty() || fits(c.normal)) &&
                      c.scale_head.size() >= 2 && c.scale_head.size() <= 8 &&
                      positive(c.scale_head, kWidthMax);
    if (!good)
        return fail(Errc::InvalidInput, fmt::format("MoGe of width {} with {} layers cannot be",
                                                    c.backbone.hidden, c.backbone.layers));
    return std::make_shared<const MogeNetwork>(c);
}

Built build(const modelfile::RtDetrConfig& c) {
    constexpr int kHeads = 8;
    const bool good = within(c.hidden, kHeads, kWidthMax) && c.hidden % kHeads == 0 &&
                      within(c.encoder_width, 1, kWidthMax) &&
                      within(c.decoder_width, 1, kWidthMax) && within(c.layers, 1, kDepthMax) &&
                      within(c.queries, 1, kWidthMax) && within(c.classes, 1, kWidthMax);
    if (!good)
        return fail(Errc::InvalidInput, fmt::format("RT-DETR of width {} with {} layers cannot be",
                                                    c.hidden, c.layers));
    return std::make_shared<const RtDetrNetwork>(c);
}

Built build(const modelfile::Sam3Config& c) {
    constexpr int kHeadDim = 64;
    constexpr int kHeads = 8;
    constexpr int kObjectsMax = 256;  // chosen: SAM 3.1 has 16
    const bool good =
        within(c.hidden, kHeadDim, kWidthMax) && c.hidden % kHeadDim == 0 &&
        within(c.layers, 1, kDepthMax) && within(c.mlp, 1, kWidthMax) && within(c.patch, 4, 64) &&
        within(c.grid, 1, kWidthMax) && within(c.width, kHeads, kWidthMax) &&
        c.width % (4 * kHeads) == 0 && within(c.feed_forward, 1, kWidthMax) &&
        within(c.encoder_layers, 1, kDepthMax) && within(c.decoder_layers, 1, kDepthMax) &&
        within(c.geometry_layers, 1, kDepthMax) && within(c.queries, 1, kWidthMax) &&
        within(c.memory_layers, 1, kDepthMax) && within(c.memory_width, 1, kWidthMax) &&
        within(c.memories, 1, kDepthMax) && within(c.objects, 1, kObjectsMax) &&
        within(c.text_width, 1, kWidthMax);
    if (!good)
        return fail(Errc::InvalidInput,
                    fmt::format("SAM 3 of width {} with {} layers cannot be", c.hidden, c.layers));
    return std::make_shared<const Sam3Network>(c);
}

}  // namespace

Result<std::shared_ptr<const ImageReader>> build_image_reader(
    const modelfile::ImageReaderConfig& config) {
    return std::visit([](const auto& c) { return build(c); }, config);
}

Walk simulate_reading(const ImageReader& network, const ReaderCall& call) {
    Tape tape(tape_options(call.storage, call.compute, call.rules));
    const std::vector<Tensor> answers = network.read(tape, call);
    return finish_walk(tape, network, call.storage, call.rules);
}

}  // namespace plimsoll::memory
