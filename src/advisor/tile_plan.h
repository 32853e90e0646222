// SPDX-License-Identifier: Apache-2.0
//
// The VAE planner: the largest tile in which an image or a video can be decoded under the load
// line. A large tile has few seams and is decoded fast; ComfyUI's own way is to try the whole
// image, run out of memory and begin again in three passes of tiles of 512 pixels. Both are priced
// by the same forecasts, so the caller can put one beside the other.
//
// Enters through: a workflow per tiling, asked of the caller.   Leaves through: TilePlan.
// Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "workflow/graph.h"
#include "workflow/splice.h"

#include <functional>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::advisor {

// Values of VAEDecodeTiled (and VAEEncodeTiled), in pixels and in frames of the video.
struct NodeTiling {
    int tile = 512;
    int overlap = 64;
    int frames = 64;
    int frame_overlap = 8;
    friend bool operator==(const NodeTiling&, const NodeTiling&) = default;
};

// What the node accepts: 64 to 4096 in steps of 32 pixels (the node's own declaration). The planner
// stays above 192: below it the three passes overlap more than they draw.
inline constexpr int kPlannedTileMin = 192;
inline constexpr int kPlannedTileMax = 2048;
inline constexpr int kPlannedTileStep = 32;

// The overlap that goes with a tile: an eighth of it as in the node's defaults (64 of 512), never
// less than 64 pixels, over which a seam is faded out, nor more than the quarter that the node
// allows.
[[nodiscard]] NodeTiling tiling_of(int tile, int frames);

// "16 frames at a time", where frames count; else nothing.
[[nodiscard]] Phrases frames_said(const NodeTiling& tiling, bool video);

// Edits that make a VAEDecode, VAEEncode or either's tiled form decode or encode in such tiles.
[[nodiscard]] std::vector<workflow::Edit> tiling_edits(const workflow::Node& node,
                                                       const NodeTiling& tiling);

// What a forecast said of one tiling.
struct TileTrial {
    bool fits = false;
    double seconds = 0;  // of the whole job
};
using TileForecast = std::function<Result<TileTrial>(const NodeTiling&)>;

struct TilePlan {
    NodeTiling tiling;
    double seconds = 0;  // of the whole job
    bool video = false;  // the frames of a tile matter
    int forecasts = 0;   // how many were asked
};

// The largest tile that fits, by bisection. Where the frames of a tile matter, so that the job is a
// video, also with all frames in one tile and with few, and then the one that takes the least time.
// nullopt where not even the smallest fits. Asks at most 26 forecasts, 10 for an image. Fails as
// the forecast fails.
[[nodiscard]] Result<std::optional<TilePlan>> plan_tiles(const TileForecast& forecast);

}  // namespace plimsoll::advisor
