// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/answer.h"

#include <gtest/gtest.h>

#include <array>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::quality {
namespace {

// Four settings on eight prompts: the reference, one as good and cheaper, one worse and cheapest,
// one as good as the reference and dearer. Scatter of +-1 point that differs between them.
struct Seen {
    Table table;
    std::vector<Cost> costs{{.seconds = 40, .peak = Bytes::from_gib(4)},
                            {.seconds = 20, .peak = Bytes::from_gib(4)},
                            {.seconds = 10, .peak = Bytes::from_gib(4)},
                            {.seconds = 50, .peak = Bytes::from_gib(5)}};
    std::vector<std::string> names{"reference", "as good", "worse", "dear"};
};

Seen seen_of(std::size_t blocks) {
    Seen seen;
    std::vector<Block> keys;
    for (std::size_t b = 0; b < blocks; ++b) keys.push_back({.prompt = b, .seed = 0});
    seen.table = make_table(4, keys);
    const std::array<double, 4> means{95, 94.8, 80, 94};
    for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t b = 0; b < blocks; ++b) {
            const double scatter = static_cast<double>((b * 7 + k * 3) % 5) / 2.0 - 1;
            seen.table.scores[k][b] =
                Marks{.retention = 90.0 + static_cast<double>(k == 0 ? 10 : 0),
                      .defects = means.at(k) + scatter,
                      .worst_defect = k == 2 ? "noise" : ""};
            // Prompts differ by tens of points, settings by few.
            seen.table.scores[k][b]->defects -= static_cast<double>(b % 4) * 10;
        }
    return seen;
}
void forget_retention(Seen& seen) {
    for (auto& row : seen.table.scores)
        for (auto& score : row)
            if (score) score->retention = std::nullopt;
}

Answer answer_of(const Seen& seen) {
    return find_answer(seen.table, seen.costs, seen.names, 0, kMarginPoints, 1);
}

TEST(Answer, takes_the_cheapest_that_is_not_worse_though_prompts_differ_far_more) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    const Answer answer = answer_of(seen);
    ASSERT_TRUE(answer.chosen);
    EXPECT_EQ(*answer.chosen, 1U) << answer.words;
    EXPECT_EQ(answer.verdicts[1].finding, Finding::NotWorse);
    EXPECT_EQ(answer.verdicts[2].finding, Finding::Worse);
    EXPECT_TRUE(answer.verdicts[1].tied);
    EXPECT_FALSE(answer.verdicts[2].tied);
}

TEST(Answer, says_why_each_of_the_others_lost) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    const Answer answer = answer_of(seen);
    EXPECT_TRUE(answer.verdicts[1].why.empty());
    EXPECT_NE(answer.verdicts[2].why.find("mostly noise"), std::string::npos)
        << answer.verdicts[2].why;
    EXPECT_NE(answer.verdicts[3].why.find("as good, but takes 50.0 s"), std::string::npos)
        << answer.verdicts[3].why;
}

TEST(Answer, keeps_on_the_front_what_nothing_beats_in_all) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    const Answer answer = answer_of(seen);
    EXPECT_FALSE(answer.verdicts[0].on_front);  // as good as 1, twice as long
    EXPECT_TRUE(answer.verdicts[1].on_front);
    EXPECT_TRUE(answer.verdicts[2].on_front);  // worse, but fastest
    EXPECT_FALSE(answer.verdicts[3].on_front);
    seen.costs[3].peak = Bytes::from_gib(2);  // slow, but small
    EXPECT_TRUE(answer_of(seen).verdicts[3].on_front);
}

TEST(Answer, claims_nothing_before_six_pairs) {
    const Answer answer = answer_of(seen_of(5));
    EXPECT_FALSE(answer.chosen);
    EXPECT_EQ(answer.grade, Grade::D);
    for (const Verdict& verdict : answer.verdicts) EXPECT_EQ(verdict.finding, Finding::TooFew);
    const Answer empty = answer_of({.table = make_table(4, {})});
    EXPECT_FALSE(empty.chosen);
}

TEST(Answer, gives_no_more_than_c_where_only_defects_were_compared) {
    Seen seen = seen_of(8);
    for (auto& row : seen.table.scores)
        for (auto& score : row) score->retention = 99;
    EXPECT_LE(answer_of(seen).grade, Grade::B);
    forget_retention(seen);
    EXPECT_GE(answer_of(seen).grade, Grade::C);
}

// A setting that cannot be compared pixel by pixel has no retention to lose, so it must not win by
// not being looked at.
TEST(Answer, lets_nothing_lead_that_was_looked_at_less_closely) {
    Seen seen = seen_of(8);
    for (auto& score : seen.table.scores[2]) {
        score->retention = std::nullopt;
        score->defects = 100;
    }
    EXPECT_NE(answer_of(seen).best, 2U);
    EXPECT_EQ(answer_of(seen).verdicts[2].basis, Basis::DefectsOnly);
}

TEST(Answer, compares_on_shared_blocks_only) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    // The good one was drawn on the easy prompts only, where a naive mean would flatter it.
    for (std::size_t b = 0; b < 8; ++b)
        if (b % 4 != 0) seen.table.scores[1][b].reset();
    const Paired paired = pair_up(seen.table, 1, 0);
    EXPECT_EQ(paired.differences.size(), 2U);
    for (const Difference& d : paired.differences) EXPECT_LT(std::abs(d.points), 3);
}

// Gives all a score of the user's scorer: `of_cheap` to the cheap and good one, 20 to the others.
void score(Seen& seen, double of_cheap, std::optional<double> margin, bool higher = true) {
    seen.table.scorers = {{.name = "pick", .higher_is_better = higher, .margin = margin}};
    for (std::size_t k = 0; k < 4; ++k)
        for (std::size_t b = 0; b < seen.table.blocks.size(); ++b)
            seen.table.scores[k][b]->scores = {(k == 1 ? of_cheap : 20) +
                                               static_cast<double>((b * 3 + k) % 4) / 100};
}

TEST(AnswerWithScorers, has_a_column_of_its_own_in_its_own_units_and_direction) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    score(seen, 19, std::nullopt);
    const Answer higher = answer_of(seen);
    EXPECT_NEAR(higher.verdicts[1].scorers[0].to_reference.points, -1, 0.05);
    EXPECT_LT(higher.verdicts[1].scorers[0].to_reference.interval.high, -0.9);
    score(seen, 19, std::nullopt, false);
    EXPECT_NEAR(answer_of(seen).verdicts[1].scorers[0].to_reference.points, 1, 0.05);
    // Points of the lab are what they were.
    EXPECT_EQ(higher.verdicts[1].to_best.points, answer_of(seen).verdicts[1].to_best.points);
}

TEST(AnswerWithScorers, vetoes_only_with_a_margin) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    score(seen, 19, std::nullopt);
    EXPECT_EQ(answer_of(seen).chosen, 1U);
    EXPECT_FALSE(answer_of(seen).scorers[0].decides);
    score(seen, 19, 0.2);
    const Answer vetoed = answer_of(seen);
    EXPECT_TRUE(vetoed.scorers[0].decides);
    EXPECT_NE(vetoed.chosen, 1U);
    EXPECT_EQ(vetoed.verdicts[1].finding, Finding::Worse);
    EXPECT_NE(vetoed.verdicts[1].why.find("by pick"), std::string::npos) << vetoed.verdicts[1].why;
    score(seen, 19, 2);
    EXPECT_EQ(answer_of(seen).chosen, 1U);
    // It cannot lift what the lab finds worse.
    score(seen, 20, 0.2);
    for (auto& marks : seen.table.scores[2]) marks->scores = {99.0};
    EXPECT_EQ(answer_of(seen).verdicts[2].finding, Finding::Worse);
}

TEST(AnswerWithScorers, does_not_hear_one_that_failed_on_most_pictures) {
    Seen seen = seen_of(8);
    forget_retention(seen);
    score(seen, 19, 0.2);
    for (auto& row : seen.table.scores)
        for (std::size_t b = 4; b < 8; ++b) row[b]->scores = {std::nullopt};
    const Answer answer = answer_of(seen);
    EXPECT_FALSE(answer.scorers[0].decides);
    EXPECT_NE(answer.scorers[0].why_silent.find("4 pictures"), std::string::npos);
    EXPECT_EQ(answer.scorers[0].scored, 16U);
    EXPECT_EQ(answer.chosen, 1U);
}

}  // namespace
}  // namespace plimsoll::quality
