// SPDX-License-Identifier: Apache-2.0
#include "advisor/tile_plan.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <set>

namespace plimsoll::advisor {
namespace {

// Memory grows with the area of a tile and the frames in it, time with the number of tiles.
struct Law {
    double area_max = 0;  // pixels x frames that fit
    bool video = false;
    int asked = 0;

    TileForecast forecast() {
        return [this](const NodeTiling& tiling) -> Result<TileTrial> {
            ++asked;
            const double frames = video ? std::min(tiling.frames, 121) : 1;
            const double area = static_cast<double>(tiling.tile) * tiling.tile * frames;
            return TileTrial{.fits = area <= area_max, .seconds = 1e6 / tiling.tile / frames};
        };
    }
};

TEST(PlanTiles, finds_the_largest_tile_of_an_image) {
    Law law{.area_max = 1000.0 * 1000.0};
    const auto plan = plan_tiles(law.forecast());
    ASSERT_TRUE(plan.has_value() && plan->has_value());
    EXPECT_EQ((*plan)->tiling.tile, 992);  // the next step, 1024, does not fit
    EXPECT_FALSE((*plan)->video);
    EXPECT_EQ((*plan)->tiling.frames, 64);  // left as the node has it
    EXPECT_EQ((*plan)->forecasts, law.asked);
    EXPECT_LE(law.asked, 10);
}

TEST(PlanTiles, weighs_frames_against_tiles_where_frames_matter) {
    Law law{.area_max = 512.0 * 512.0 * 121, .video = true};
    const auto plan = plan_tiles(law.forecast());
    ASSERT_TRUE(plan.has_value() && plan->has_value());
    EXPECT_TRUE((*plan)->video);
    // All frames in tiles of 512 take less of this law's time than few in larger tiles.
    EXPECT_EQ((*plan)->tiling.tile, 512);
    EXPECT_EQ((*plan)->tiling.frames, 4096);
    EXPECT_LE(law.asked, 26);
}

TEST(PlanTiles, finds_none_where_the_smallest_does_not_fit_and_passes_errors_on) {
    Law law{.area_max = 10};
    const auto none = plan_tiles(law.forecast());
    ASSERT_TRUE(none.has_value());
    EXPECT_FALSE(none->has_value());
    const auto broken = plan_tiles([](const NodeTiling&) -> Result<TileTrial> {
        return fail(Errc::InvalidInput, "no workflow");
    });
    ASSERT_FALSE(broken.has_value());
    EXPECT_EQ(broken.error().message, "no workflow");
}

// The node takes a quarter at most, and what it takes must be a multiple of the latent's cell.
TEST(TilingOf, keeps_the_nodes_rules_for_every_tile) {
    for (int tile = kPlannedTileMin; tile <= kPlannedTileMax; tile += kPlannedTileStep) {
        const NodeTiling tiling = tiling_of(tile, 64);
        EXPECT_LE(4 * tiling.overlap, tile);
        EXPECT_GE(tiling.overlap, std::min(64, tile / 4));
        EXPECT_EQ(tiling.overlap % 8, 0);
        EXPECT_LE(2 * tiling.frame_overlap, tiling.frames);
    }
    EXPECT_EQ(tiling_of(512, 64), NodeTiling{});  // the node's own defaults
}

TEST(TilingEdits, exchange_a_whole_decode_and_only_set_the_values_of_a_tiled_one) {
    workflow::Node node;
    node.id = "8";
    node.class_type = "VAEDecode";
    const auto whole = tiling_edits(node, NodeTiling{});
    ASSERT_EQ(whole.size(), 5U);
    EXPECT_EQ(std::get<workflow::SetClassType>(whole.front()).class_type, "VAEDecodeTiled");
    node.class_type = "VAEEncodeTiled";
    std::set<std::string> inputs;
    for (const auto& edit : tiling_edits(node, NodeTiling{}))
        inputs.insert(std::get<workflow::SetInput>(edit).input);
    EXPECT_EQ(inputs,
              (std::set<std::string>{"tile_size", "overlap", "temporal_size", "temporal_overlap"}));
}

}  // namespace
}  // namespace plimsoll::advisor
