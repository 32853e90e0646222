// SPDX-License-Identifier: Apache-2.0
#include "quality/votes/bradley_terry.h"

#include "quality/lab/draws.h"

#include <gtest/gtest.h>

#include <cmath>
#include <set>
#include <vector>

namespace plimsoll::quality {
namespace {

std::vector<Vote> ballots(std::size_t a, std::size_t b, int for_a, int for_b, int ties = 0) {
    std::vector<Vote> out;
    out.insert(out.end(), static_cast<std::size_t>(for_a), {a, b, Preferred::First});
    out.insert(out.end(), static_cast<std::size_t>(for_b), {a, b, Preferred::Second});
    out.insert(out.end(), static_cast<std::size_t>(ties), {a, b, Preferred::Neither});
    return out;
}

// Two settings have a solution in closed form: the odds.
TEST(BradleyTerry, agrees_with_the_odds_of_two) {
    const Standings found = stand(2, ballots(0, 1, 300, 100));
    EXPECT_NEAR(found.beats(0, 1), 0.75, 0.01);
    EXPECT_NEAR(found.strengths[0].value - found.strengths[1].value, std::log(3.0), 0.02);
    EXPECT_NEAR(found.strengths[0].value + found.strengths[1].value, 0, 1e-9);
}

TEST(BradleyTerry, chains_what_was_never_compared) {
    std::vector<Vote> votes = ballots(0, 1, 200, 100);
    for (const Vote& vote : ballots(1, 2, 200, 100)) votes.push_back(vote);
    const Standings found = stand(3, votes);
    // Odds of 2 twice are odds of 4.
    EXPECT_NEAR(found.beats(0, 2), 0.8, 0.01);
}

TEST(BradleyTerry, counts_a_tie_as_half_a_win_each) {
    const Standings found = stand(2, ballots(0, 1, 0, 0, 50));
    EXPECT_NEAR(found.beats(0, 1), 0.5, 1e-9);
    EXPECT_LT(found.strengths[0].interval.high, 1.5);
}

TEST(BradleyTerry, stays_finite_where_one_side_always_wins_or_nobody_voted) {
    const Standings won = stand(2, ballots(0, 1, 40, 0));
    EXPECT_GT(won.beats(0, 1), 0.95);
    EXPECT_TRUE(std::isfinite(won.strengths[0].value));
    const Standings silent = stand(3, {});
    EXPECT_FALSE(silent.enough());
    for (const Strength& strength : silent.strengths) {
        EXPECT_EQ(strength.value, 0);
        EXPECT_GT(strength.interval.high, 1);
    }
    EXPECT_TRUE(stand(0, {}).strengths.empty());
}

TEST(BradleyTerry, leaves_out_votes_that_cannot_be) {
    const std::vector<Vote> wrong{{0, 9, Preferred::First}, {1, 1, Preferred::First}};
    EXPECT_EQ(stand(2, wrong).votes, 0U);
}

TEST(BradleyTerry, says_when_votes_are_too_few) {
    EXPECT_FALSE(stand(2, ballots(0, 1, 20, 9)).enough());
    EXPECT_TRUE(stand(2, ballots(0, 1, 20, 10)).enough());
}

// Goal: stated 95 % intervals of a difference hold the truth. Method: 300 elections of 60 votes
// with a known strength, counted by the covariance.
TEST(BradleyTerry, holds_the_truth_as_often_as_it_says) {
    constexpr double kTruth = 0.8;
    Draws draws(17);
    int held = 0;
    constexpr int kTries = 300;
    for (int i = 0; i < kTries; ++i) {
        int wins = 0;
        for (int vote = 0; vote < 60; ++vote) {
            const double unit = static_cast<double>(draws.next() >> 11U) * 0x1.0p-53;
            wins += unit < 1 / (1 + std::exp(-kTruth)) ? 1 : 0;
        }
        const Standings found = stand(2, ballots(0, 1, wins, 60 - wins));
        const double spread =
            std::sqrt(found.covariance[0][0] + found.covariance[1][1] - 2 * found.covariance[0][1]);
        const double difference = found.strengths[0].value - found.strengths[1].value;
        held += std::abs(difference - kTruth) <= 1.96 * spread ? 1 : 0;
    }
    EXPECT_GE(held, 0.92 * kTries);
}

TEST(NextPair, asks_about_what_is_least_known) {
    const std::vector<Vote> votes = ballots(0, 1, 30, 30);
    const std::vector<std::size_t> among{0, 1, 2};
    const auto pair = next_pair(stand(3, votes), among, votes);
    ASSERT_TRUE(pair);
    EXPECT_TRUE(pair->first == 2 || pair->second == 2);
    EXPECT_FALSE(next_pair(stand(3, votes), std::vector<std::size_t>{1}, votes));
}

TEST(NextPair, goes_round_all_pairs_when_nothing_is_known) {
    std::vector<Vote> votes;
    const std::vector<std::size_t> among{0, 1, 2, 3};
    std::set<std::pair<std::size_t, std::size_t>> asked;
    for (int i = 0; i < 6; ++i) {
        const auto pair = next_pair(stand(4, votes), among, votes);
        ASSERT_TRUE(pair);
        asked.insert(*pair);
        votes.push_back({pair->first, pair->second, Preferred::Neither});
    }
    EXPECT_EQ(asked.size(), 6U);
}

}  // namespace
}  // namespace plimsoll::quality
