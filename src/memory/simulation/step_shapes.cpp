// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/step_shapes.h"

#include "base/say.h"
#include "memory/samplers.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

namespace plimsoll::memory {

LatentShape taken_by(LatentShape latent, const LatentFormat& format) {
    if (latent.pixels_per_cell != format.pixels_per_cell) {
        latent.height =
            std::max(1, latent.height * latent.pixels_per_cell / format.pixels_per_cell);
        latent.width = std::max(1, latent.width * latent.pixels_per_cell / format.pixels_per_cell);
        latent.pixels_per_cell = format.pixels_per_cell;
    }
    // ComfyUI cuts an empty sound anew for a model of another rate.
    if (format.samples_per_cell > 0 && latent.samples_per_cell > 0) {
        const double cells =
            static_cast<double>(latent.width) * latent.samples_per_cell / format.samples_per_cell;
        latent.width = std::max(1, static_cast<int>(std::nearbyint(cells)));
        latent.samples_per_cell = format.samples_per_cell;
    }
    latent.channels = format.channels;
    return latent;
}

Phrase why_not_walked(const FamilyTraits& traits, const LatentShape& latent) {
    if (traits.latent.of_sound && latent.pixels_per_cell != 1) return say<"unknown.not_of_sound">();
    if (traits.needs_sound && latent.sound == 0) return say<"unknown.no_sound_beside">();
    if (traits.alone && latent.batch > 1) return say<"unknown.one_video">();
    // Chosen: what drives frames is walked picture by picture, and no card holds as many.
    constexpr std::int64_t kDrivenMax = 1 << 14;
    const bool driven = traits.frames_min > 1;
    const bool known = latent.frames >= traits.frames_min &&
                       (traits.frames_max == 0 || latent.frames <= traits.frames_max) &&
                       (!driven || std::int64_t{latent.batch} * latent.frames <= kDrivenMax);
    return known ? Phrase() : say<"unknown.frames">(latent.frames);
}

std::int64_t estimated_area(const FamilyTraits& traits, const LatentShape& latent,
                            const std::vector<ConditionUse>& uses) {
    std::int64_t area = latent_area(latent);
    if (traits.sound_elements > 0)
        area = area * latent.channels +
               std::int64_t{latent.batch} * latent.sound * traits.sound_elements;
    if (traits.counts_references && !uses.empty())
        for (const LatentShape& reference : uses.front().references) area += latent_area(reference);
    return area;
}

std::vector<ConditionUse> conditions_of(const SampleStep& what) {
    std::vector<ConditionUse> all = what.positive;
    const auto traits = sampler_traits(what.sampler);
    const bool uncond_dropped = std::abs(what.cfg - 1.0) < 1e-9 &&
                                !(traits && traits->needs_uncond) && !what.patches.keeps_negative;
    if (!uncond_dropped) all.insert(all.end(), what.negative.begin(), what.negative.end());
    return all;
}

namespace {

// Images too, where the VAE is one of videos.
std::vector<TileRun> video_tiles_of(const VaeStep& what, const Vae& vae) {
    const VaeGrid grid = vae.grid();
    const bool decode = what.direction == VaeDirection::Decode;
    const int cell = decode ? grid.pixels_per_cell : 1;
    const int time = decode ? grid.frames_per_cell : 1;
    const int frames = what.video ? what.image.batch : 1;
    VideoTiling tiling = what.tiled
                             ? node_video_tiling(node_tiling(what.tile_size, what.overlap, cell),
                                                 what.tile_frames, what.frame_overlap, time)
                             : video_fallback(cell);
    // It slices a clip by itself: a tile has all of its frames, whatever the node says.
    if (vae.kind() == VaeKind::Seedvr2) tiling.frames = kAllFrames;
    return video_tiles(what.video ? 1 : what.image.batch,
                       {what.image.height / cell, what.image.width / cell, (frames - 1) / time + 1},
                       tiling);
}

// Along the time only (ComfyUI 0.3.64, VAE.decode_tiled_1d and encode_tiled_1d).
std::vector<TileRun> sound_tiles_of(const VaeStep& what, const SoundGrid& grid) {
    constexpr VideoTiling kDecode{.tile = 128, .overlap = 32};  // latents
    // Samples; a sound whose latents have rows is cut that much finer.
    constexpr int kEncodeTile = 256 * 2048;
    constexpr int kEncodeOverlap = 64 * 2048;
    VideoTiling tiling = kDecode;
    if (what.direction == VaeDirection::Encode) {
        const auto per_latent = static_cast<int>(grid.given_per_latent()) * grid.latent_rows;
        tiling = {.tile = std::max(1, kEncodeTile / per_latent),
                  .overlap = kEncodeOverlap / per_latent};
    }
    if (what.tiled) {
        tiling.tile = what.tile_size;
        tiling.overlap = what.overlap;
    }
    return video_tiles(what.image.batch, {.height = 1, .width = what.sound_latents}, tiling);
}

}  // namespace

VaeExtents extents_of(const VaeStep& what, const Vae& vae) {
    if (const auto sound = vae.sound()) {
        const auto latents = std::int64_t{what.sound_latents};
        return {.pixels = {1, 1, latents * sound->given_per_latent()},
                .cells = {1, sound->latent_rows, latents}};
    }
    const VaeGrid grid = vae.grid();
    const int frames = what.video ? what.image.batch : 1;
    const VaeExtent pixels{frames, what.image.height, what.image.width};
    return {.pixels = pixels,
            .cells = {grid.latent_frames(frames), pixels.height / grid.pixels_per_cell,
                      pixels.width / grid.pixels_per_cell}};
}

Bytes kept_beside_tiles(const VaeStep& what, const Vae& vae) {
    if (vae.kind() != VaeKind::Seedvr2) return {};
    constexpr std::int64_t kFloatBytes = 4;
    constexpr std::int64_t kColours = 3;
    const VaeExtents extents = extents_of(what, vae);
    const bool decode = what.direction == VaeDirection::Decode;
    const VaeExtent& made = decode ? extents.pixels : extents.cells;
    const std::int64_t channels = decode ? kColours : vae.grid().latent_channels;
    // The sum of the tiles, and of their weights.
    return Bytes(kFloatBytes * made.height * made.width * (channels * made.frames + 1));
}

std::vector<TileRun> tiles_of(const VaeStep& what, const Vae& vae) {
    if (const auto sound = vae.sound()) return sound_tiles_of(what, *sound);
    const VaeGrid grid = vae.grid();
    const ImageShape& image = what.image;
    const int cell = grid.pixels_per_cell;
    if (grid.frames_per_cell > 1) return video_tiles_of(what, vae);
    const int images = image.batch;
    if (what.direction == VaeDirection::Decode) {
        const Tiling tiling =
            what.tiled ? node_tiling(what.tile_size, what.overlap, cell) : kDecodeFallback;
        return decode_tiles(images, image.height / cell, image.width / cell, tiling);
    }
    const Tiling tiling =
        what.tiled ? node_tiling(what.tile_size, what.overlap, 1) : kEncodeFallback;
    return encode_tiles(images, image.height, image.width, tiling);
}

}  // namespace plimsoll::memory
