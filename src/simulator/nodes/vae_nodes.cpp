// SPDX-License-Identifier: Apache-2.0
//
// The VAE: whole, in tiles, and in tiles because the whole did not fit.
#include "simulator/card/estimate.h"
#include "simulator/nodes/card_work.h"
#include "simulator/nodes/registry.h"
#include "simulator/nodes/tiles.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::simulator {

namespace {

constexpr int kRatio = 8;          // pixels to a latent cell
constexpr int kFallbackTile = 64;  // latent cells: decode_tiled_ of ComfyUI
constexpr int kFallbackOverlap = 16;
constexpr int kEncodeTile = 512;  // pixels
constexpr int kEncodeOverlap = 64;

NetworkRun price(const VaeValue& vae, std::string_view phase, const Activation& activation) {
    const Weights& weights = *vae.patcher.weights;
    return {.device = weights.load_device,
            .activation = activation,
            .pcie_bytes = weights.streamed_bytes(),
            .streamed_peak_bytes = weights.largest_streamed_bytes(),
            .workspace_share =
                phase == "decode" ? decode_workspace(vae.element_bytes) : kEncodeWorkspace};
}

std::expected<Activation, NodeFailure> vae_activation(const VaeValue& vae, std::string_view phase,
                                                      std::int64_t cells, std::int64_t batch) {
    return activation_of({.network = "vae_kl4",
                          .phase = phase,
                          .element_bytes = vae.element_bytes,
                          .extent = cells,
                          .batch = batch},
                         vae.share);
}

// Three passes with tiles of different shapes, averaged. Sizes in latent cells for decoding; each
// item of the batch goes through all of them, and every tile is one step of progress.
NodeStep run_tiles(NodeContext& context, const VaeValue& vae, std::string_view phase,
                   const LatentValue& latent, const std::array<TileShape, 3>& passes) {
    int total = 0;
    for (const TileShape& tile : passes) total += count_tiles(latent.width, latent.height, tile);
    const auto items = static_cast<int>(latent.items.size());
    total *= items;
    int done = 0;
    for (const TileShape& tile : passes) {
        const std::int64_t cells =
            std::int64_t{std::min(tile.width, latent.width)} * std::min(tile.height, latent.height);
        const auto activation = vae_activation(vae, phase, cells, 1);
        if (!activation) return std::unexpected(activation.error());
        const NetworkRun run = price(vae, phase, *activation);
        const int tiles = count_tiles(latent.width, latent.height, tile) * items;
        for (int i = 0; i < tiles; ++i) {
            PLIMSOLL_STEP(run_network(context, run));
            PLIMSOLL_STEP(context.progress(++done, total, nullptr));
        }
    }
    return {};
}

std::array<TileShape, 3> decode_passes(int tile, int overlap) {
    return {{{tile / 2, tile * 2, overlap}, {tile * 2, tile / 2, overlap}, {tile, tile, overlap}}};
}
std::array<TileShape, 3> encode_passes(int tile, int overlap) {
    return {{{tile, tile, overlap}, {tile * 2, tile / 2, overlap}, {tile / 2, tile * 2, overlap}}};
}

// As many at once as ComfyUI's estimate says; true when the card was full and tiles must do.
std::expected<bool, NodeFailure> run_whole(NodeContext& context, const VaeValue& vae,
                                           std::string_view phase, const LatentValue& latent,
                                           double estimate) {
    const auto items = static_cast<std::int64_t>(latent.items.size());
    const auto free_now = static_cast<double>(context.machine.memory.free());
    const std::int64_t at_once = std::max<std::int64_t>(
        1, static_cast<std::int64_t>(std::floor(free_now / std::max(1.0, estimate))));
    for (std::int64_t first = 0; first < items; first += at_once) {
        const auto activation =
            vae_activation(vae, phase, std::int64_t{latent.width} * latent.height,
                           std::min(at_once, items - first));
        if (!activation) return std::unexpected(activation.error());
        const auto run = run_network(context, price(vae, phase, *activation));
        if (!run && run.error().out_of_memory) return true;
        if (!run) return std::unexpected(run.error());
    }
    return false;
}

ImageValue draw(const LatentValue& latent) {
    ImageValue image;
    for (const Recipe& recipe : latent.items)
        image.items.push_back(std::make_shared<const Pixels>(
            render_scene(recipe, latent.width * kRatio, latent.height * kRatio)));
    return image;
}

NodeOutcome vae_decode(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(vae, VaeValue, "vae", "decode");
    PLIMSOLL_LINKED(latent, LatentValue, "samples", "get");
    const double estimate =
        estimate_decode_bytes(std::int64_t{latent.width} * latent.height, vae.element_bytes);
    PLIMSOLL_STEP(load_models(context, {.models = {vae.patcher}, .memory_required = estimate}));
    const auto too_large = run_whole(context, vae, "decode", latent, estimate);
    if (!too_large) return std::unexpected(too_large.error());
    if (*too_large)
        PLIMSOLL_STEP(run_tiles(context, vae, "decode", latent,
                                decode_passes(kFallbackTile, kFallbackOverlap)));
    return NodeResult{{draw(latent)}, std::nullopt};
}

NodeOutcome vae_decode_tiled(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(vae, VaeValue, "vae", "spacial_compression_decode");
    PLIMSOLL_LINKED(latent, LatentValue, "samples", "get");
    const int tile_size = inputs.whole("tile_size", kEncodeTile);
    int overlap = inputs.whole("overlap", kEncodeOverlap);
    if (tile_size < overlap * 4) overlap = tile_size / 4;
    // 0.3.64 reserves as for the whole picture, although only a tile is ever on the card.
    PLIMSOLL_STEP(
        load_models(context, {.models = {vae.patcher},
                              .memory_required = estimate_decode_bytes(
                                  std::int64_t{latent.width} * latent.height, vae.element_bytes)}));
    PLIMSOLL_STEP(run_tiles(context, vae, "decode", latent,
                            decode_passes(tile_size / kRatio, overlap / kRatio)));
    return NodeResult{{draw(latent)}, std::nullopt};
}

// The latent of pictures, cropped to whole cells.
std::expected<LatentValue, NodeFailure> latent_of(const ImageValue& image) {
    LatentValue latent;
    for (const auto& pixels : image.items) {
        latent.width = pixels->width / kRatio;
        latent.height = pixels->height / kRatio;
        Recipe recipe;
        recipe.start = pixels;
        latent.items.push_back(std::move(recipe));
    }
    if (latent.width == 0 || latent.height == 0)
        return raise("RuntimeError", "Calculated padded input size per channel is too small");
    return latent;
}

NodeOutcome encode(NodeContext& context, const VaeValue& vae, const ImageValue& image,
                   bool masked) {
    auto latent = latent_of(image);
    if (!latent) return std::unexpected(latent.error());
    latent->masked = masked;
    const double estimate = estimate_encode_bytes(
        std::int64_t{latent->width} * latent->height * kRatio * kRatio, vae.element_bytes);
    PLIMSOLL_STEP(load_models(context, {.models = {vae.patcher}, .memory_required = estimate}));
    const auto too_large = run_whole(context, vae, "encode", *latent, estimate);
    if (!too_large) return std::unexpected(too_large.error());
    if (*too_large)
        PLIMSOLL_STEP(run_tiles(context, vae, "encode", *latent,
                                encode_passes(kEncodeTile / kRatio, kEncodeOverlap / kRatio)));
    return NodeResult{{std::move(*latent)}, std::nullopt};
}

NodeOutcome vae_encode(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(vae, VaeValue, "vae", "encode");
    PLIMSOLL_LINKED(image, ImageValue, "pixels", "shape");
    return encode(context, vae, image, false);
}

NodeOutcome vae_encode_for_inpaint(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(vae, VaeValue, "vae", "spacial_compression_encode");
    PLIMSOLL_LINKED(image, ImageValue, "pixels", "shape");
    return encode(context, vae, image, true);
}

NodeOutcome vae_encode_tiled(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(vae, VaeValue, "vae", "encode_tiled");
    PLIMSOLL_LINKED(image, ImageValue, "pixels", "shape");
    auto latent = latent_of(image);
    if (!latent) return std::unexpected(latent.error());
    const int tile_size = inputs.whole("tile_size", kEncodeTile);
    const int overlap = inputs.whole("overlap", kEncodeOverlap);
    PLIMSOLL_STEP(load_models(
        context,
        {.models = {vae.patcher},
         .memory_required = estimate_encode_bytes(
             std::int64_t{latent->width} * latent->height * kRatio * kRatio, vae.element_bytes)}));
    PLIMSOLL_STEP(run_tiles(context, vae, "encode", *latent,
                            encode_passes(tile_size / kRatio, overlap / kRatio)));
    return NodeResult{{std::move(*latent)}, std::nullopt};
}

constexpr std::array<NodeEntry, 5> kNodes{{
    {"VAEDecode", vae_decode},
    {"VAEDecodeTiled", vae_decode_tiled},
    {"VAEEncode", vae_encode},
    {"VAEEncodeTiled", vae_encode_tiled},
    {"VAEEncodeForInpaint", vae_encode_for_inpaint},
}};

}  // namespace

std::span<const NodeEntry> vae_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
