// SPDX-License-Identifier: Apache-2.0
#include "memory/lowering/verbs.h"

#include "base/say.h"

#include <algorithm>
#include <cmath>
#include <optional>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

const Vae* known_vae(const NodeScope& scope, const ModelValue& vae) {
    const ProgramModel& model = scope.program().models[static_cast<std::size_t>(vae.use.model)];
    if (!model.known() || model.built.empty()) return nullptr;
    return model.built.front()->vae.get();
}

void take_tiles(const NodeScope& scope, VaeStep& step) {
    constexpr int kTileMin = 64;  // pixels, the node's own limits
    constexpr int kTileMax = 4096;
    constexpr int kTileFramesMin = 8;  // frames
    step.tiled = true;
    step.tile_size =
        clamped(scope.number("tile_size").value_or(step.tile_size), kTileMin, kTileMax);
    step.overlap = clamped(scope.number("overlap").value_or(step.overlap), 0, kTileMax);
    step.tile_frames =
        clamped(scope.number("temporal_size").value_or(step.tile_frames), kTileFramesMin, kTileMax);
    step.frame_overlap =
        clamped(scope.number("temporal_overlap").value_or(step.frame_overlap), 0, kTileMax);
}

Values decode(NodeScope& scope, const ModelValue& vae, const LatentShape& latent) {
    VaeStep step;
    step.vae = vae.use;
    const Vae* network = known_vae(scope, vae);
    const VaeGrid grid = network != nullptr ? network->grid()
                                            : VaeGrid{.pixels_per_cell = latent.pixels_per_cell,
                                                      .frames_per_cell = latent.frames_per_cell,
                                                      .latent_channels = latent.channels};
    const int frames =
        clamped(static_cast<double>(grid.pixel_frames(latent.frames)), 1, kFramesMax);
    // An empty latent of another cell size is made anew for the model, in the same pixels.
    const auto pixels = [&](int cells) {
        const int side = clamped(static_cast<double>(cells) * latent.pixels_per_cell, 1, kSideMax);
        return std::max(grid.pixels_per_cell, side / grid.pixels_per_cell * grid.pixels_per_cell);
    };
    step.image = {clamped(static_cast<double>(latent.batch) * frames, 1, kBatchMax),
                  pixels(latent.height), pixels(latent.width)};
    step.video = frames > 1;
    if (scope.kind().tiled) take_tiles(scope, step);
    scope.step(step);
    return {{step.image}};
}

// Latents of a sound of so many seconds, as the VAE cuts them; a VAE that is not known leaves the
// catalogue's.
std::optional<LatentShape> sound_latents(const NodeScope& scope, const ModelValue& vae,
                                         double seconds) {
    const Vae* network = known_vae(scope, vae);
    const auto grid = network != nullptr ? network->sound() : std::nullopt;
    if (!grid) return std::nullopt;
    const int latents = clamped(grid->latents_of(seconds), 1, kSideMax);
    return LatentShape{.channels = grid->latent_channels,
                       .height = grid->rows_are_time ? latents : grid->latent_rows,
                       .width = grid->rows_are_time ? grid->latent_rows : latents,
                       .pixels_per_cell = 1};
}

int along_time(const LatentShape& latent, const SoundGrid& grid) {
    return grid.rows_are_time ? latent.height : latent.width;
}

// What comes out are the catalogue's outputs.
Values decode_sound(NodeScope& scope, const ModelValue& vae) {
    const auto* latent = scope.get<LatentShape>("samples");
    if (latent == nullptr) return {scope.unknown_step()};
    VaeStep step;
    step.vae = vae.use;
    step.image = {latent->batch, 1, 1};
    // The time is what is longest where nobody says what a latent's rows are.
    const Vae* network = known_vae(scope, vae);
    const auto grid = network != nullptr ? network->sound() : std::nullopt;
    const int longest = std::max(latent->height, latent->width);
    int latents = grid ? along_time(*latent, *grid) : longest;
    if (grid && latent->samples_per_cell > 0 && latent->channels != grid->latent_channels)
        latents = clamped(std::nearbyint(static_cast<double>(latents) * latent->samples_per_cell /
                                         grid->samples_per_latent),
                          1, kSideMax);  // cut anew for the model that sampled
    step.sound_latents = std::max(latent->sound, latents);
    if (scope.kind().tiled) take_tiles(scope, step);
    scope.step(step);
    return make_outputs(scope);
}

Values encode_sound(NodeScope& scope, const ModelValue& vae) {
    const auto* given = scope.look<SoundShape>("audio");
    Values values = make_outputs(scope);
    if (given == nullptr || given->seconds <= 0) {
        scope.missing(say<"unknown.sound_length">());
        (void)scope.unknown_step();
        return values;
    }
    if (const auto latent = sound_latents(scope, vae, given->seconds)) values = {{*latent}};
    VaeStep step;
    step.vae = vae.use;
    step.direction = VaeDirection::Encode;
    step.image = {1, 1, 1};
    const auto* made = std::get_if<LatentShape>(&values.front().what);
    const Vae* network = known_vae(scope, vae);
    const auto grid = network != nullptr ? network->sound() : std::nullopt;
    step.sound_latents =
        made != nullptr ? std::max(1, along_time(*made, grid.value_or(SoundGrid{}))) : 1;
    scope.step(step);
    return values;
}

// What is not known of a node, and what is known of its outputs all the same.
Values unknown_run(NodeScope& scope) {
    Values values{scope.unknown_step()};
    if (!scope.kind().outputs.empty()) values = make_outputs(scope);
    return values;
}

}  // namespace

VaeGrid grid_of(const NodeScope& scope, const ModelValue& vae, const ImageShape& image) {
    if (const Vae* network = known_vae(scope, vae)) return network->grid();
    // Frames are images to a VAE of images, and most others take four to a cell.
    constexpr int kUsualFrames = 4;
    return {.pixels_per_cell = 8, .frames_per_cell = image.batch > 1 ? kUsualFrames : 1};
}

LatentShape latent_of(const ImageShape& image, const VaeGrid& grid) {
    const bool video = grid.frames_per_cell > 1;
    return {.batch = video ? 1 : image.batch,
            .channels = grid.latent_channels,
            .frames = video ? static_cast<int>(grid.latent_frames(image.batch)) : 1,
            .height = std::max(1, image.height / grid.pixels_per_cell),
            .width = std::max(1, image.width / grid.pixels_per_cell),
            .pixels_per_cell = grid.pixels_per_cell,
            .frames_per_cell = grid.frames_per_cell};
}

std::optional<LatentShape> encode_pixels(NodeScope& scope, const ModelValue& vae,
                                         const ImageShape& pixels, const VaeGrid& grid,
                                         Tiled tiled) {
    VaeStep step;
    step.vae = vae.use;
    step.direction = VaeDirection::Encode;
    // ComfyUI cuts an image to whole cells, a video to whole cells of time.
    step.video = grid.frames_per_cell > 1 && pixels.batch > 1;
    const int frames =
        step.video ? static_cast<int>(grid.coded_frames(pixels.batch)) : pixels.batch;
    step.image = {frames, pixels.height / grid.pixels_per_cell * grid.pixels_per_cell,
                  pixels.width / grid.pixels_per_cell * grid.pixels_per_cell};
    if (step.image.height < 1 || step.image.width < 1) {
        scope.missing(say<"unknown.tiny_image">());
        return std::nullopt;
    }
    if (tiled == Tiled::Yes) take_tiles(scope, step);
    scope.step(step);
    return latent_of(step.image, grid);
}

Values lower_vae_verb(NodeScope& scope) {
    const workflow::NodeKind& kind = scope.kind();
    const bool decodes = kind.verb == NodeVerb::VaeDecode;
    const auto* vae = scope.get<ModelValue>(kind.input_of("vae"));
    if (kind.sound) {
        if (vae == nullptr) return unknown_run(scope);
        return decodes ? decode_sound(scope, *vae) : encode_sound(scope, *vae);
    }
    if (decodes) {
        const auto* latent = scope.get<LatentShape>("samples");
        if (vae == nullptr || latent == nullptr) return unknown_run(scope);
        Values values = decode(scope, *vae, *latent);
        return kind.outputs.empty() ? values : make_outputs(scope);
    }
    const ImageShape* pixels = scope.look_pixels("pixels");
    if (vae == nullptr || pixels == nullptr) {
        (void)scope.get<ImageShape>("pixels");
        return unknown_run(scope);
    }
    const auto latent = encode_pixels(scope, *vae, *pixels, grid_of(scope, *vae, *pixels),
                                      kind.tiled ? Tiled::Yes : Tiled::No);
    return latent ? Values{{*latent}} : unknown_run(scope);
}

}  // namespace plimsoll::memory
