// SPDX-License-Identifier: Apache-2.0
#include "advisor/tile_plan.h"

#include "base/say.h"

#include <algorithm>
#include <utility>

namespace plimsoll::advisor {
namespace {

constexpr int kFrames = 64;       // the node's default; images do not look at it
constexpr int kAllFrames = 4096;  // the node's largest
constexpr int kFewFrames = 16;    // chosen: four cells of time for most networks of videos

// The largest tile that fits with this number of frames, smaller ones assumed to fit as well.
Result<std::optional<TilePlan>> largest_tile(int frames, const TileForecast& forecast, int& asked) {
    const auto tile_at = [](int index) { return kPlannedTileMin + index * kPlannedTileStep; };
    const auto ask = [&](int index) {
        ++asked;
        return forecast(tiling_of(tile_at(index), frames));
    };
    const auto plan_at = [&](int index, const TileTrial& trial) {
        return TilePlan{.tiling = tiling_of(tile_at(index), frames), .seconds = trial.seconds};
    };
    int low = 0;
    int high = (kPlannedTileMax - kPlannedTileMin) / kPlannedTileStep;
    TRY_ASSIGN(const TileTrial smallest, ask(low));
    if (!smallest.fits) return std::nullopt;
    TilePlan best = plan_at(low, smallest);
    TRY_ASSIGN(const TileTrial largest, ask(high));
    if (largest.fits) return plan_at(high, largest);
    while (high - low > 1) {
        const int middle = low + (high - low) / 2;
        TRY_ASSIGN(const TileTrial trial, ask(middle));
        if (trial.fits) {
            low = middle;
            best = plan_at(middle, trial);
        } else {
            high = middle;
        }
    }
    return best;
}

}  // namespace

NodeTiling tiling_of(int tile, int frames) {
    const int overlap = std::min(std::max(64, tile / 8 / 32 * 32), tile / 4 / 8 * 8);
    return {.tile = tile,
            .overlap = overlap,
            .frames = frames,
            .frame_overlap = std::clamp(frames / 8, 4, 8)};
}

Phrases frames_said(const NodeTiling& tiling, bool video) {
    if (!video || tiling.frames >= kAllFrames) return {};
    return {say<"change.tile_frames">(tiling.frames)};
}

std::vector<workflow::Edit> tiling_edits(const workflow::Node& node, const NodeTiling& tiling) {
    using workflow::SetInput;
    std::vector<workflow::Edit> edits;
    if (!node.class_type.ends_with("Tiled"))
        edits.emplace_back(workflow::SetClassType{node.id, node.class_type + "Tiled"});
    for (const auto& [input, value] :
         {std::pair{"tile_size", tiling.tile}, std::pair{"overlap", tiling.overlap},
          std::pair{"temporal_size", tiling.frames},
          std::pair{"temporal_overlap", tiling.frame_overlap}})
        edits.emplace_back(SetInput{node.id, input, std::int64_t{value}});
    return edits;
}

Result<std::optional<TilePlan>> plan_tiles(const TileForecast& forecast) {
    int asked = 0;
    TRY_ASSIGN(std::optional<TilePlan> best, largest_tile(kFrames, forecast, asked));
    // With another number of frames an image comes to the same; the smallest tile tells it even
    // where none fits.
    const int tile = best ? best->tiling.tile : kPlannedTileMin;
    TRY_ASSIGN(const TileTrial usual, forecast(tiling_of(tile, kFrames)));
    TRY_ASSIGN(const TileTrial few, forecast(tiling_of(tile, kFewFrames)));
    asked += 2;
    const bool video = usual.fits != few.fits || usual.seconds != few.seconds;
    if (video)
        for (const int frames : {kAllFrames, kFewFrames}) {
            TRY_ASSIGN(std::optional<TilePlan> found, largest_tile(frames, forecast, asked));
            if (found && (!best || found->seconds < best->seconds)) best = std::move(found);
        }
    if (best) {
        best->forecasts = asked;
        best->video = video;
    }
    return best;
}

}  // namespace plimsoll::advisor
