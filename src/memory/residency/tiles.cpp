// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/tiles.h"

#include <algorithm>
#include <array>
#include <span>

namespace plimsoll::memory {

namespace {

// Lengths of the pieces along one side.
std::vector<int> pieces(int length, int tile, int overlap) {
    if (length <= tile) return {length};
    std::vector<int> lengths;
    for (int at = 0; at < length - overlap; at += std::max(1, tile - overlap)) {
        const int start = std::clamp(at, 0, length - overlap);
        lengths.push_back(std::min(tile, length - start));
    }
    return lengths;
}

void append(std::vector<TileRun>& runs, const TileSize& size) {
    if (!runs.empty() && runs.back().size == size)
        ++runs.back().count;
    else
        runs.push_back({size, 1});
}

std::vector<TileRun> passes(int images, int height, int width, std::span<const TileSize> tiles,
                            int overlap) {
    std::vector<TileRun> runs;
    for (const TileSize& tile : tiles) {
        const std::vector<int> rows = pieces(height, tile.height, overlap);
        const std::vector<int> columns = pieces(width, tile.width, overlap);
        for (int image = 0; image < images; ++image)
            for (const int h : rows)
                for (const int w : columns) append(runs, {h, w});
    }
    return runs;
}

}  // namespace

Tiling node_tiling(int tile_pixels, int overlap_pixels, int pixels_per_cell) {
    if (tile_pixels < 4 * overlap_pixels) overlap_pixels = tile_pixels / 4;
    return {.tile = std::max(1, tile_pixels / pixels_per_cell),
            .overlap = overlap_pixels / pixels_per_cell};
}

std::vector<TileRun> decode_tiles(int images, int height, int width, const Tiling& t) {
    const std::array<TileSize, 3> tiles{
        {{t.tile * 2, t.tile / 2}, {t.tile / 2, t.tile * 2}, {t.tile, t.tile}}};
    return passes(images, height, width, tiles, t.overlap);
}

std::vector<TileRun> encode_tiles(int images, int height, int width, const Tiling& t) {
    const std::array<TileSize, 3> tiles{
        {{t.tile, t.tile}, {t.tile / 2, t.tile * 2}, {t.tile * 2, t.tile / 2}}};
    return passes(images, height, width, tiles, t.overlap);
}

VideoTiling video_fallback(int pixels_per_cell) {
    constexpr int kPixels = 256;
    const int tile = std::max(1, kPixels / pixels_per_cell);
    return {.tile = tile, .overlap = tile / 4, .frames = kAllFrames, .frame_overlap = 1};
}

VideoTiling node_video_tiling(const Tiling& tiling, int tile_frames, int frame_overlap,
                              int frames_per_cell) {
    if (tile_frames < 2 * frame_overlap) frame_overlap /= 2;
    const int frames = std::max(2, tile_frames / frames_per_cell);
    return {.tile = tiling.tile,
            .overlap = tiling.overlap,
            .frames = frames,
            .frame_overlap = std::max(1, std::min(frames / 2, frame_overlap / frames_per_cell))};
}

std::vector<TileRun> video_tiles(int videos, const TileSize& whole, const VideoTiling& t) {
    std::vector<TileRun> runs;
    for (int video = 0; video < videos; ++video)
        for (const int frames : pieces(whole.frames, t.frames, t.frame_overlap))
            for (const int h : pieces(whole.height, t.tile, t.overlap))
                for (const int w : pieces(whole.width, t.tile, t.overlap))
                    append(runs, {h, w, frames});
    return runs;
}

}  // namespace plimsoll::memory
