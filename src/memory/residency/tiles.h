// SPDX-License-Identifier: Apache-2.0
//
// How ComfyUI cuts an image into tiles for the VAE: three passes over differently shaped tiles,
// averaged, one image at a time. A video is cut in time too, in one pass. Sizes in latent cells for
// decoding, in pixels for encoding.
#pragma once
#include <cstdint>
#include <vector>

namespace plimsoll::memory {

struct TileSize {
    int height = 64;
    int width = 64;
    int frames = 1;
    friend bool operator==(const TileSize&, const TileSize&) = default;
};
struct TileRun {
    TileSize size;
    int count = 1;  // one after the other, each a call of its own
};

inline constexpr int kAllFrames = 999;  // as ComfyUI says it

struct Tiling {
    int tile = 64;
    int overlap = 16;
};
inline constexpr Tiling kDecodeFallback{.tile = 64, .overlap = 16};   // cells
inline constexpr Tiling kEncodeFallback{.tile = 512, .overlap = 64};  // pixels

struct VideoTiling {
    int tile = 32;
    int overlap = 8;
    int frames = kAllFrames;
    int frame_overlap = 1;
};
// After running out of memory: tiles of 256 pixels, with all frames.
[[nodiscard]] VideoTiling video_fallback(int pixels_per_cell);
// VAEDecodeTiled's values; its frames are counted in cells of time.
[[nodiscard]] VideoTiling node_video_tiling(const Tiling& tiling, int tile_frames,
                                            int frame_overlap, int frames_per_cell);

// VAEDecodeTiled's values, in pixels, as the node corrects them, in cells.
[[nodiscard]] Tiling node_tiling(int tile_pixels, int overlap_pixels, int pixels_per_cell);

// Calls in order, neighbours of equal size taken together.
[[nodiscard]] std::vector<TileRun> decode_tiles(int images, int height, int width,
                                                const Tiling& tiling);
[[nodiscard]] std::vector<TileRun> encode_tiles(int images, int height, int width,
                                                const Tiling& tiling);
[[nodiscard]] std::vector<TileRun> video_tiles(int videos, const TileSize& whole,
                                               const VideoTiling& tiling);

}  // namespace plimsoll::memory
