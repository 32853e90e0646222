// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/verbs.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

int scaled(int side, double by) {
    return clamped(std::round(side * by), 1, kSideMax);
}

// --- latents ---------------------------------------------------------------------------------

Values empty_latent(NodeScope& scope) {
    const auto width = scope.count("width", 1, kSideMax);
    const auto height = scope.count("height", 1, kSideMax);
    const auto batch = scope.count("batch_size", 1, kBatchMax);
    if (!width || !height || !batch) return {scope.nothing()};
    const int cell = scope.kind().pixels_per_cell;
    int frames = 1;
    if (const int per_cell = scope.kind().frames_per_cell; per_cell > 1) {
        const auto length = scope.count("length", 1, kFramesMax);
        if (!length) return {scope.nothing()};
        frames = (*length - 1) / per_cell + 1;
    }
    return {{LatentShape{.batch = *batch,
                         .channels = scope.kind().channels,
                         .frames = frames,
                         .height = std::max(1, *height / cell),
                         .width = std::max(1, *width / cell),
                         .pixels_per_cell = cell}}};
}

Values resize_latent(NodeScope& scope, LatentShape latent) {
    const auto width = scope.count("width", 0, kSideMax);
    const auto height = scope.count("height", 0, kSideMax);
    if (!width || !height) return {scope.nothing()};
    const int w = *width / latent.pixels_per_cell;
    const int h = *height / latent.pixels_per_cell;
    const double ratio = static_cast<double>(latent.width) / latent.height;
    // A side of 0 follows the other one in proportion.
    if (w > 0 || h > 0) {
        latent.width = w > 0 ? w : scaled(h, ratio);
        latent.height = h > 0 ? h : scaled(w, 1 / ratio);
    }
    return {{latent}};
}

Values scale_latent(NodeScope& scope, LatentShape latent) {
    const auto by = scope.number("scale_by");
    if (!by) {
        scope.missing(fmt::format("scale_by of node {} is not known", scope.node().id));
        return {scope.nothing()};
    }
    latent.width = scaled(latent.width, *by);
    latent.height = scaled(latent.height, *by);
    return {{latent}};
}

Values take_latents(NodeScope& scope, LatentShape latent) {
    const int from = clamped(scope.number("batch_index").value_or(0), 0, latent.batch - 1);
    const int length = clamped(scope.number("length").value_or(latent.batch), 1, kBatchMax);
    latent.batch = std::min(length, latent.batch - from);
    return {{latent}};
}

Values join_latents(NodeScope& scope, LatentShape latent) {
    const auto* more = scope.get<LatentShape>("samples2");
    if (more == nullptr) return {scope.nothing()};
    latent.batch = std::min(kBatchMax, latent.batch + more->batch);
    return {{latent}};
}

// `batch` repeated as often as the node says.
int repeated(const NodeScope& scope, int batch) {
    return clamped(batch * scope.number("amount").value_or(1), 1, kBatchMax);
}

Values change_latent(NodeScope& scope) {
    const bool join = scope.kind().verb == NodeVerb::JoinLatents;
    const auto* samples = scope.get<LatentShape>(join ? "samples1" : "samples");
    if (samples == nullptr) return {scope.nothing()};
    LatentShape latent = *samples;
    switch (scope.kind().verb) {
        case NodeVerb::ResizeLatent:
            return resize_latent(scope, latent);
        case NodeVerb::ScaleLatent:
            return scale_latent(scope, latent);
        case NodeVerb::TakeLatents:
            return take_latents(scope, latent);
        case NodeVerb::JoinLatents:
            return join_latents(scope, latent);
        default:
            latent.batch = repeated(scope, latent.batch);
            return {{latent}};
    }
}

// --- images ----------------------------------------------------------------------------------

Values empty_image(NodeScope& scope) {
    const auto width = scope.count("width", 1, kSideMax);
    const auto height = scope.count("height", 1, kSideMax);
    const auto batch = scope.count("batch_size", 1, kBatchMax);
    if (!width || !height || !batch) return {scope.nothing()};
    return {{ImageShape{*batch, *height, *width}}};
}

void scale(ImageShape& image, double by) {
    image.height = scaled(image.height, by);
    image.width = scaled(image.width, by);
}

// To a size that is said, or in proportion to the one side that is.
Values resize_image(NodeScope& scope) {
    const double width = scope.number("width").value_or(0);
    const double height = scope.number("height").value_or(0);
    const auto* given = scope.get<ImageShape>("image");
    if (width > 0 && height > 0) {
        scope.forgive();  // only the batch depends on what came in
        return {{ImageShape{given != nullptr ? given->batch : 1, clamped(height, 1, kSideMax),
                            clamped(width, 1, kSideMax)}}};
    }
    if (given == nullptr) return {scope.nothing()};
    ImageShape image = *given;
    if (width > 0) scale(image, width / image.width);
    if (height > 0) scale(image, height / image.height);
    return {{image}};
}

Values change_image(NodeScope& scope) {
    const auto* given = scope.get<ImageShape>("image");
    if (given == nullptr) return {scope.nothing()};
    ImageShape image = *given;
    switch (scope.kind().verb) {
        case NodeVerb::ScaleImage:
            scale(image, scope.number("scale_by").value_or(1));
            break;
        case NodeVerb::FitImage: {
            constexpr double kMegapixel = 1024.0 * 1024.0;  // as ComfyUI counts them
            const double pixels = static_cast<double>(image.height) * image.width;
            scale(image, std::sqrt(scope.number("megapixels").value_or(1) * kMegapixel / pixels));
            break;
        }
        case NodeVerb::PadImage: {
            const auto more = [&](const char* side) { return scope.number(side).value_or(0); };
            image.width = clamped(image.width + more("left") + more("right"), 1, kSideMax);
            image.height = clamped(image.height + more("top") + more("bottom"), 1, kSideMax);
            break;
        }
        default:
            image.batch = repeated(scope, image.batch);
    }
    return {{image}};
}

}  // namespace

VaeGrid grid_of(NodeScope& scope, const ModelValue& vae) {
    const ProgramModel& model = scope.program().models[static_cast<std::size_t>(vae.use.model)];
    if (!model.known() || model.built.empty() || !model.built.front()->vae) return {};
    return model.built.front()->vae->grid();
}

LatentShape latent_of(const ImageShape& image, const VaeGrid& grid) {
    const bool video = grid.frames_per_cell > 1;
    return {.batch = video ? 1 : image.batch,
            .channels = grid.latent_channels,
            .frames = video ? (image.batch - 1) / grid.frames_per_cell + 1 : 1,
            .height = std::max(1, image.height / grid.pixels_per_cell),
            .width = std::max(1, image.width / grid.pixels_per_cell),
            .pixels_per_cell = grid.pixels_per_cell};
}

Values lower_shape_verb(NodeScope& scope) {
    switch (scope.kind().verb) {
        case NodeVerb::EmptyLatent:
            return empty_latent(scope);
        case NodeVerb::LoadImage:
            scope.missing(
                fmt::format("the size of the image of node {} is not known", scope.node().id));
            return {scope.nothing()};
        case NodeVerb::EmptyImage:
            return empty_image(scope);
        case NodeVerb::ResizeImage:
            return resize_image(scope);
        case NodeVerb::ScaleImage:
        case NodeVerb::FitImage:
        case NodeVerb::PadImage:
        case NodeVerb::RepeatImage:
            return change_image(scope);
        default:
            return change_latent(scope);
    }
}

Values lower_vae_verb(NodeScope& scope) {
    const bool decode = scope.kind().verb == NodeVerb::VaeDecode;
    const auto* vae = scope.get<ModelValue>("vae");
    VaeStep step;
    step.direction = decode ? VaeDirection::Decode : VaeDirection::Encode;
    const VaeGrid grid = vae == nullptr ? VaeGrid{} : grid_of(scope, *vae);
    if (decode) {
        if (const auto* latent = scope.get<LatentShape>("samples")) {
            const int frames = (latent->frames - 1) * grid.frames_per_cell + 1;
            step.image = {latent->batch * frames, latent->height * grid.pixels_per_cell,
                          latent->width * grid.pixels_per_cell};
            step.video = frames > 1;
        }
    } else if (const auto* pixels = scope.get<ImageShape>("pixels")) {
        // ComfyUI cuts an image to whole cells, a video to whole cells of time.
        step.video = grid.frames_per_cell > 1 && pixels->batch > 1;
        const int frames =
            step.video ? (pixels->batch - 1) / grid.frames_per_cell * grid.frames_per_cell + 1
                       : pixels->batch;
        step.image = {frames, pixels->height / grid.pixels_per_cell * grid.pixels_per_cell,
                      pixels->width / grid.pixels_per_cell * grid.pixels_per_cell};
    }
    if (vae == nullptr || step.image.height < 1 || step.image.width < 1) {
        scope.missing("the image is smaller than a latent cell");
        return {scope.unknown_step()};
    }
    step.vae = vae->use;
    step.tiled = scope.kind().tiled;
    if (step.tiled) {
        constexpr int kTileMin = 64;  // pixels, the node's own limits
        constexpr int kTileMax = 4096;
        step.tile_size =
            clamped(scope.number("tile_size").value_or(step.tile_size), kTileMin, kTileMax);
        step.overlap = clamped(scope.number("overlap").value_or(step.overlap), 0, kTileMax);
        step.tile_frames =
            clamped(scope.number("temporal_size").value_or(step.tile_frames), 8, kFramesMax);
        step.frame_overlap =
            clamped(scope.number("temporal_overlap").value_or(step.frame_overlap), 0, kFramesMax);
    }
    scope.step(step);
    return {decode ? Value{step.image} : Value{latent_of(step.image, grid)}};
}

}  // namespace plimsoll::memory
