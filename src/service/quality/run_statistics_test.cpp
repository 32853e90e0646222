// SPDX-License-Identifier: Apache-2.0
//
// Goal: all pictures of a session are held against the same reference pictures, none against its
// own prompt's. Method: a session whose pictures are made here, blurred more and more.
#include "service/quality/run_statistics.h"

#include "quality/encode_png.h"
#include "quality/test_pictures.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>

namespace plimsoll::service {
namespace {

class RunStatisticsTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_statistics_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    static quality::SessionPlan plan() {
        quality::SessionPlan plan;
        plan.session_id = "s";
        for (const int steps : {30, 10})
            plan.entrants.push_back(
                {.setting = {.checkpoint = "m", .steps = steps}, .forecast = {}, .left_out = {}});
        for (int i = 0; i < 8; ++i) plan.prompts.push_back(fmt::format("p{}", i));
        plan.rules.blocks_max = 8;
        plan.seconds_max = 1e6;
        return plan;
    }
    void draw(quality::Session& session, const quality::Cell& cell, const std::string& bytes) {
        const std::string file =
            (folder_ / fmt::format("{}_{}.png", cell.candidate, cell.block)).string();
        std::ofstream(file, std::ios::binary) << bytes;
        session.ask({.cell = cell, .block = {}, .setting = {}, .prompt_id = {}}, "id");
        session.draw(cell, 1, Bytes(), file, {});
    }
    static std::string picture(std::size_t block, double blur) {
        quality::test::Levels levels =
            quality::test::scene(480, static_cast<std::uint32_t>(block + 1));
        if (blur > 0) levels = quality::test::blurred(levels, blur);
        return quality::encode_png(levels.image());
    }
    static std::size_t measure_all(RunStatistics& statistics, quality::Session& session) {
        std::size_t count = 0;
        while (const auto cell = statistics.next_unmeasured(session)) {
            quality::Seen seen = session.picture(*cell)->seen;
            statistics.measure(session, *cell, seen);
            session.look_again(*cell, seen);
            ++count;
        }
        return count;
    }

    std::filesystem::path folder_;
};

TEST_F(RunStatisticsTest, wait_for_all_references_and_then_measure_every_picture) {
    quality::Session session(plan());
    RunStatistics statistics;
    for (std::size_t b = 0; b < 7; ++b) draw(session, {0, b}, picture(b, 0));
    draw(session, {1, 0}, picture(0, 2));
    EXPECT_FALSE(statistics.next_unmeasured(session));
    draw(session, {0, 7}, picture(7, 0));
    EXPECT_EQ(measure_all(statistics, session), 9U);
    const auto niqe = [&](std::size_t candidate, std::size_t block) {
        return session.picture({candidate, block})->seen.measures.at(quality::Measure::Niqe);
    };
    EXPECT_GT(niqe(1, 0), niqe(0, 0) + 0.5);
    // Another program that goes on measures the same.
    const double before = niqe(1, 0);
    session.look_again({1, 0}, {});
    RunStatistics other;
    EXPECT_EQ(measure_all(other, session), 1U);
    EXPECT_EQ(niqe(1, 0), before);
}

TEST_F(RunStatisticsTest, say_why_a_picture_has_none_and_do_not_ask_again) {
    quality::Session session(plan());
    RunStatistics statistics;
    for (std::size_t b = 0; b < 8; ++b) draw(session, {0, b}, picture(b, 0));
    draw(session, {1, 0}, "no picture");
    EXPECT_EQ(measure_all(statistics, session), 9U);
    const quality::Seen& seen = session.picture({1, 0})->seen;
    EXPECT_FALSE(seen.measures.contains(quality::Measure::Niqe));
    EXPECT_FALSE(seen.unscored.at(std::string(kNiqeName)).empty());
}

TEST_F(RunStatisticsTest, give_up_on_a_session_whose_references_tell_nothing) {
    quality::Session session(plan());
    RunStatistics statistics;
    for (std::size_t b = 0; b < 8; ++b) draw(session, {0, b}, "no picture");
    EXPECT_EQ(measure_all(statistics, session), 1U);
}

}  // namespace
}  // namespace plimsoll::service
