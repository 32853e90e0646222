// SPDX-License-Identifier: Apache-2.0
//
// Nodes that make and reshape latents, and literals that are nodes of their own.
#include "simulator/nodes/registry.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::simulator {

namespace {

constexpr int kCell = 8;  // pixels to a latent cell, each way

NodeOutcome empty_latent(NodeContext&, const NodeInputs& inputs) {
    LatentValue latent{.width = inputs.whole("width") / kCell,
                       .height = inputs.whole("height") / kCell,
                       .items = {}};
    const int batch = std::clamp(inputs.whole("batch_size", 1), 1, 4096);
    latent.items.resize(static_cast<std::size_t>(batch));
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome latent_upscale(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "copy");
    int width = inputs.whole("width");
    int height = inputs.whole("height");
    if (width == 0 && height == 0) return NodeResult{{samples}, std::nullopt};
    const auto scaled = [](int value, int by, int of) {
        return std::max(64, static_cast<int>(std::lround(static_cast<double>(value) * by / of)));
    };
    if (width == 0) {
        height = std::max(64, height);
        width = scaled(samples.width, height, samples.height);
    } else if (height == 0) {
        width = std::max(64, width);
        height = scaled(samples.height, width, samples.width);
    } else {
        width = std::max(64, width);
        height = std::max(64, height);
    }
    LatentValue latent = samples;
    latent.width = width / kCell;
    latent.height = height / kCell;
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome latent_upscale_by(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "copy");
    const double factor = inputs.number("scale_by", 1);
    LatentValue latent = samples;
    latent.width = std::max(1, static_cast<int>(std::lround(samples.width * factor)));
    latent.height = std::max(1, static_cast<int>(std::lround(samples.height * factor)));
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome latent_from_batch(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "copy");
    LatentValue latent = samples;
    const int count = static_cast<int>(samples.items.size());
    const int first = std::clamp(inputs.whole("batch_index"), 0, count - 1);
    const int length = std::clamp(inputs.whole("length", 1), 1, count - first);
    latent.items.assign(samples.items.begin() + first, samples.items.begin() + first + length);
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome repeat_latent_batch(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "copy");
    LatentValue latent = samples;
    latent.items.clear();
    for (int i = 0; i < std::clamp(inputs.whole("amount", 1), 1, 64); ++i)
        latent.items.insert(latent.items.end(), samples.items.begin(), samples.items.end());
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome set_latent_noise_mask(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(samples, LatentValue, "samples", "copy");
    LatentValue latent = samples;
    latent.masked = true;
    return NodeResult{{std::move(latent)}, std::nullopt};
}

NodeOutcome primitive(NodeContext&, const NodeInputs& inputs) {
    const Value* const value = inputs.literal("value");
    return NodeResult{{value == nullptr ? Value() : *value}, std::nullopt};
}

constexpr std::array<NodeEntry, 11> kNodes{{
    {"EmptyLatentImage", empty_latent},
    {"LatentUpscale", latent_upscale},
    {"LatentUpscaleBy", latent_upscale_by},
    {"LatentFromBatch", latent_from_batch},
    {"RepeatLatentBatch", repeat_latent_batch},
    {"SetLatentNoiseMask", set_latent_noise_mask},
    {"PrimitiveInt", primitive},
    {"PrimitiveFloat", primitive},
    {"PrimitiveString", primitive},
    {"PrimitiveStringMultiline", primitive},
    {"PrimitiveBoolean", primitive},
}};

}  // namespace

std::span<const NodeEntry> latent_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
