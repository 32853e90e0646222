// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/race.h"

#include "quality/lab/candidates.h"
#include "quality/lab/draws.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <numeric>
#include <vector>

namespace plimsoll::quality {
namespace {

TEST(Race, doubles_its_blocks_up_to_the_most) {
    EXPECT_EQ(stages_of({}), (std::vector<std::size_t>{2, 4, 8, 16, 32, 64}));
    EXPECT_EQ(stages_of({.blocks_first = 2, .blocks_max = 6}), (std::vector<std::size_t>{2, 4, 6}));
    EXPECT_EQ(stages_of({.blocks_first = 4, .blocks_max = 4}), (std::vector<std::size_t>{4}));
}

TEST(Race, takes_no_more_pictures_than_it_says) {
    for (const std::size_t count : {1U, 2U, 5U, 9U, 25U, 32U}) {
        const RaceRules rules;
        const std::size_t most = images_max(count, rules);
        EXPECT_LE(most, count * rules.blocks_max);
        Table table = make_table(count, std::vector<Block>(rules.blocks_max));
        std::vector<Cost> costs(count);
        std::vector<std::size_t> alive(count);
        std::iota(alive.begin(), alive.end(), std::size_t{0});
        Draws draws(count);
        std::size_t images = 0;
        std::size_t before = 0;
        for (const std::size_t stage : stages_of(rules)) {
            if (before > 0) alive = survivors(table, costs, alive, 0, rules);
            for (const std::size_t k : alive)
                for (std::size_t b = before; b < stage; ++b, ++images)
                    table.scores[k][b] =
                        Marks{.retention = {},
                              .defects = 50.0 + static_cast<double>(draws.next_below(50)),
                              .worst_defect = {}};
            before = stage;
        }
        EXPECT_LE(images, most) << count;
    }
}

// Ten settings whose quality falls with their number as their seconds do: 9 is cheapest and bad.
struct Line {
    Table table = make_table(10, {{0, 0}, {1, 0}});
    std::vector<Cost> costs;
    std::vector<std::size_t> alive;
};
Line line_of() {
    Line line;
    for (std::size_t k = 0; k < 10; ++k) {
        line.alive.push_back(k);
        line.costs.push_back({.seconds = 100.0 - 10.0 * static_cast<double>(k), .peak = Bytes(1)});
        const double lost = k < 6 ? 0.3 * static_cast<double>(k) : 20;
        const double scatter = k % 2 == 0 ? 1 : -1;  // a point either way, between the blocks
        line.table.scores[k] = {
            Marks{.retention = {}, .defects = 95 - lost + scatter, .worst_defect = {}},
            Marks{.retention = {}, .defects = 85 - lost - scatter, .worst_defect = {}}};
    }
    return line;
}

TEST(Race, keeps_the_cheapest_good_ones_and_drops_the_bad) {
    const Line line = line_of();
    const auto kept = survivors(line.table, line.costs, line.alive, 0, {});
    EXPECT_EQ(kept.size(), 5U);
    EXPECT_TRUE(std::ranges::count(kept, 5U));
    for (const std::size_t bad : {6U, 7U, 8U, 9U}) EXPECT_FALSE(std::ranges::count(kept, bad));
}

TEST(Race, always_keeps_the_reference) {
    Line line = line_of();
    for (auto& score : line.table.scores[0]) score->defects = 30;
    const auto kept = survivors(line.table, line.costs, line.alive, 0, {});
    EXPECT_TRUE(std::ranges::count(kept, 0U));
}

TEST(Race, lets_few_candidates_all_go_on) {
    const Line line = line_of();
    const std::vector<std::size_t> few{0, 3, 9};
    EXPECT_EQ(survivors(line.table, line.costs, few, 0, {}), few);
}

TEST(Candidates, begin_with_the_costliest_and_have_no_two_alike) {
    for (const TestKind kind : {TestKind::Quick, TestKind::Full})
        for (const bool distilled : {false, true}) {
            Surroundings around;
            around.distilled = distilled;
            const Candidates made = make_candidates(kind, around);
            ASSERT_GE(made.settings.size(), kind == TestKind::Quick ? 4U : 12U);
            EXPECT_LE(made.settings.size(), kCandidatesMax);
            EXPECT_EQ(made.reference, 0U);
            for (std::size_t i = 0; i < made.settings.size(); ++i) {
                EXPECT_LE(made.settings[i].steps, made.settings[0].steps);
                EXPECT_EQ(std::ranges::count(made.settings, made.settings[i]), 1);
            }
            EXPECT_EQ(made.second_reference.has_value(), kind == TestKind::Full);
        }
}

TEST(Candidates, keep_to_what_the_server_offers) {
    Surroundings around;
    around.samplers = {"dpmpp_2m", "euler"};
    around.schedulers = {"karras"};
    for (const Setting& setting : make_candidates(TestKind::Full, around).settings) {
        EXPECT_TRUE(setting.sampler == "dpmpp_2m" || setting.sampler == "euler");
        EXPECT_EQ(setting.scheduler, "karras");
    }
    around.samplers = {"none of ours"};
    EXPECT_TRUE(make_candidates(TestKind::Full, around).settings.empty());
}

TEST(Candidates, try_the_precisions_that_exist) {
    Surroundings around;
    around.precisions = {"model_fp8.safetensors"};
    const auto settings = make_candidates(TestKind::Full, around).settings;
    EXPECT_EQ(std::ranges::count(settings, "model_fp8.safetensors", &Setting::checkpoint), 1);
}

}  // namespace
}  // namespace plimsoll::quality
