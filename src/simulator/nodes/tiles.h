// SPDX-License-Identifier: Apache-2.0
//
// How many tiles cover a picture: get_tiled_scale_steps of ComfyUI. Pure.
#pragma once

namespace plimsoll::simulator {

struct TileShape {
    int width = 0;
    int height = 0;
    int overlap = 0;
};

[[nodiscard]] inline int count_along(int length, int tile, int overlap) {
    if (length <= tile || tile <= overlap) return 1;
    return (length - overlap + (tile - overlap) - 1) / (tile - overlap);
}
[[nodiscard]] inline int count_tiles(int width, int height, const TileShape& tile) {
    return count_along(width, tile.width, tile.overlap) *
           count_along(height, tile.height, tile.overlap);
}

}  // namespace plimsoll::simulator
