// SPDX-License-Identifier: Apache-2.0
//
// Goal: what a session shows to people is true of its files, and its report opens anywhere without
// a word of its prompts being taken for markup. Method: a session of two settings whose pictures
// are made here: a reference and one with a burnt corner.
#include "service/quality/look.h"

#include "history/store.h"
#include "quality/compare.h"
#include "quality/decode/decode.h"
#include "quality/encode_png.h"
#include "quality/test_pictures.h"
#include "service/quality/draw.h"
#include "service/quality/report.h"
#include "service/quality/votes.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <optional>
#include <span>
#include <string>
#include <utility>
#include <vector>

namespace plimsoll::service {
namespace {

using testing::HasSubstr;
using testing::Not;

constexpr const char* kPrompt = "a <script>alert(\"x\")</script> & 'ship'";

class LookTest : public testing::Test {
  protected:
    void SetUp() override {
        std::string name = testing::TempDir() + "plimsoll_look_XXXXXX";
        ASSERT_NE(::mkdtemp(name.data()), nullptr);
        folder_ = name;
        quality::SessionPlan plan;
        plan.session_id = "5d3f0f52-6a0f-4c7e-9a4e-0c8f4f6f2b11";
        plan.model = "<b>model</b>";
        plan.prompts = {kPrompt};
        plan.seconds_max = 1e6;
        plan.rules.blocks_max = 8;
        for (const auto& [steps, cfg] : {std::pair{30, 7.0}, {10, 7.0}, {30, 3.0}}) {
            quality::Setting setting;
            setting.steps = steps;
            setting.cfg = cfg;
            plan.entrants.push_back(
                {.setting = setting, .forecast = {steps * 1.0, Bytes(1 << 30)}, .left_out = {}});
        }
        session_.emplace(std::move(plan));
    }
    void TearDown() override { std::filesystem::remove_all(folder_); }

    // Draws everything that it asks for, by the settings' numbers.
    void draw() {
        const quality::Image good = quality::test::picture_a().image();
        quality::test::Levels burnt = quality::test::picture_a();
        for (int y = 0; y < 96; ++y)
            for (int x = 160; x < 256; ++x) burnt.at(x, y, 0) = 255;
        const std::string spoiled = quality::encode_png(burnt.image());
        const std::string whole = quality::encode_png(good);
        const auto comparison = compare_picture_bytes(whole, spoiled, {}).value();
        const auto same = compare_picture_bytes(whole, whole, {}).value();
        while (const auto task = session_->next()) {
            session_->ask(*task, "p");
            const bool is_bad = task->cell.candidate == 1;
            const std::string path = folder_ / (std::to_string(task->cell.candidate) + "_" +
                                                std::to_string(task->cell.block) + ".png");
            std::ofstream(path, std::ios::binary) << (is_bad ? spoiled : whole);
            quality::Seen seen = quality::seen_of(is_bad ? comparison : same,
                                                  task->cell.candidate != 2, "another CFG");
            if (task->cell.candidate == 0) seen.distance_to_other = 0.9;
            session_->draw(task->cell, task->setting.steps * 1.0, Bytes(), path, seen);
        }
    }

    std::filesystem::path folder_;
    std::optional<quality::Session> session_;
    history::MemoryStore store_;
};

TEST_F(LookTest, marks_what_a_picture_lost_for_and_where) {
    draw();
    const auto mark = mark_defect(*session_, {1, 0});
    ASSERT_TRUE(mark) << mark.error().message;
    ASSERT_TRUE(mark->place) << mark->why_no_place;
    EXPECT_GE(mark->place->x + mark->place->width, 160);
    EXPECT_LE(mark->place->y, 96);
    EXPECT_FALSE(mark_defect(*session_, {0, 0})->place);
    EXPECT_EQ(mark_defect(*session_, {1, 63}).error().code, Errc::NotFound);
}

TEST_F(LookTest, draws_a_map_only_where_comparing_pixels_says_something) {
    draw();
    const auto map = draw_map(*session_, {1, 0}, 128);
    ASSERT_TRUE(map) << map.error().message;
    const auto seen = quality::decode_image(std::as_bytes(std::span(*map)));
    ASSERT_TRUE(seen);
    EXPECT_EQ(seen->image.width, 128);
    EXPECT_THAT(draw_map(*session_, {2, 0}, 128).error().message, HasSubstr("another CFG"));
    EXPECT_EQ(draw_map(*session_, {0, 0}, 128).error().code, Errc::NotFound);
    std::filesystem::remove(folder_ / "1_0.png");
    const auto gone = draw_map(*session_, {1, 0}, 128);
    EXPECT_EQ(gone.error().code, Errc::NotFound);
    EXPECT_THAT(gone.error().message, Not(HasSubstr(folder_.string())));
}

TEST_F(LookTest, a_report_holds_its_pictures_and_takes_no_prompt_for_markup) {
    draw();
    std::filesystem::remove(folder_ / "1_1.png");
    const std::string html = write_report(*session_, count_votes(*session_, store_).value());
    EXPECT_THAT(
        html,
        HasSubstr("a &lt;script&gt;alert(&quot;x&quot;)&lt;/script&gt; &amp; &#39;ship&#39;"));
    EXPECT_THAT(html, HasSubstr("data:image/jpeg;base64,/9j/"));
    EXPECT_THAT(html, HasSubstr("file is gone"));
    EXPECT_THAT(html, HasSubstr("class=\"place\""));
    for (const char* const never : {"<script", "<b>model", "http://", "https://", "<link", "url("})
        EXPECT_THAT(html, Not(HasSubstr(never)));
    EXPECT_LT(html.size(), 2 * kReportPictureBytes);
    EXPECT_TRUE(html.ends_with("</html>\n"));
}

TEST_F(LookTest, a_report_of_a_session_without_pictures_says_that_nothing_is_claimed) {
    const std::string html = write_report(*session_, count_votes(*session_, store_).value());
    EXPECT_THAT(html, HasSubstr("nothing is claimed"));
    EXPECT_THAT(html, Not(HasSubstr("<svg")));
}

TEST_F(LookTest, a_report_in_chinese_has_no_sentence_in_english) {
    const auto report = [&] {
        return write_report(*session_, count_votes(*session_, store_).value(), "zh");
    };
    EXPECT_THAT(report(), HasSubstr("尚无结论"));
    draw();
    const std::string html = report();
    EXPECT_THAT(html, HasSubstr("<html lang=\"zh\">"));
    for (const char* const said : {"各设置", "提示词 1，种子", "方法"})
        EXPECT_THAT(html, HasSubstr(said));
    for (const char* const never : {"The settings", "too few", "as good", "seconds", "Prompt 1"})
        EXPECT_THAT(html, Not(HasSubstr(never)));
}

TEST_F(LookTest, votes_go_out_as_pairs_and_come_back_once) {
    draw();
    Random ids(5);
    const PairList pairs = next_blind_pairs(*session_, store_, 5, ids).value();
    ASSERT_EQ(pairs.size(), 5);
    const BlindPair first = next_blind_pair(*session_, store_).value();
    EXPECT_EQ(pairs[0].pair.left, first.left);
    EXPECT_EQ(pairs[0].pair.right, first.right);
    std::string file = R"({"pairs":[)";
    for (std::size_t i = 0; i < pairs.size(); ++i) {
        const auto cell = [](const quality::Cell& one) {
            return "{\"candidate\":" + std::to_string(one.candidate) +
                   ",\"block\":" + std::to_string(one.block) + ",\"file\":\"x\"}";
        };
        file += std::string(i == 0 ? "" : ",") + "{\"voteId\":\"" + pairs[i].vote_id +
                "\",\"left\":" + cell(pairs[i].pair.left) +
                ",\"right\":" + cell(pairs[i].pair.right) +
                ",\"preferred\":" + (i == 4 ? "null" : "\"left\"") + "}";
    }
    file += "]}";
    for (int twice = 0; twice < 2; ++twice) {
        const auto ballots = parse_ballots(file);
        ASSERT_TRUE(ballots) << ballots.error().message;
        EXPECT_EQ(ballots->size(), 4);
        EXPECT_EQ(cast_votes(*session_, store_, *ballots, 1, ids)->standings.votes, 4);
    }
    const auto kept = list_ballots(*session_, store_).value();
    const auto same = std::ranges::find(kept, pairs[0].vote_id,
                                        [](const KeptBallot& one) { return one.ballot.vote_id; });
    ASSERT_NE(same, kept.end());
    EXPECT_EQ(same->ballot.left, pairs[0].pair.left);
    EXPECT_EQ(same->ballot.preferred, quality::Preferred::First);
    for (const char* const wrong :
         {"{}", "[]", R"({"ballots":[{}]})",
          R"({"ballots":[{"left":1,"right":2,"preferred":"x"}]})", "no JSON"})
        EXPECT_FALSE(parse_ballots(wrong)) << wrong;
    // All or none.
    const std::vector<Ballot> mixed{{.vote_id = {}, .left = {0, 0}, .right = {1, 0}},
                                    {.vote_id = {}, .left = {0, 0}, .right = {1, 1}}};
    const auto refused = cast_votes(*session_, store_, mixed, 1, ids);
    EXPECT_THAT(refused.error().message, HasSubstr("vote 2"));
    EXPECT_EQ(count_votes(*session_, store_)->standings.votes, 4);
}

}  // namespace
}  // namespace plimsoll::service
