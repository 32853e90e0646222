// SPDX-License-Identifier: Apache-2.0
//
// How ComfyUI cuts an image into tiles for the VAE: three passes over differently shaped tiles,
// averaged, one image at a time. Sizes in latent cells for decoding, in pixels for encoding.
#pragma once
#include <cstdint>
#include <vector>

namespace plimsoll::memory {

struct TileSize {
    int height = 64;
    int width = 64;
    friend bool operator==(const TileSize&, const TileSize&) = default;
};
struct TileRun {
    TileSize size;
    int count = 1;  // one after the other, each a call of its own
};

struct Tiling {
    int tile = 64;
    int overlap = 16;
};
inline constexpr Tiling kDecodeFallback{.tile = 64, .overlap = 16};   // cells
inline constexpr Tiling kEncodeFallback{.tile = 512, .overlap = 64};  // pixels

// VAEDecodeTiled's values, in pixels, as the node corrects them, in cells.
[[nodiscard]] Tiling node_tiling(int tile_pixels, int overlap_pixels, int pixels_per_cell);

// Calls in order, neighbours of equal size taken together.
[[nodiscard]] std::vector<TileRun> decode_tiles(int images, int height, int width,
                                                const Tiling& tiling);
[[nodiscard]] std::vector<TileRun> encode_tiles(int images, int height, int width,
                                                const Tiling& tiling);

}  // namespace plimsoll::memory
