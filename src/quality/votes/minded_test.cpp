// SPDX-License-Identifier: Apache-2.0
#include "quality/votes/minded.h"

#include "quality/lab/draws.h"

#include <gtest/gtest.h>

#include <cmath>
#include <vector>

namespace plimsoll::quality {
namespace {

// Votes of somebody who minds `weight` times what points say.
std::vector<PricedVote> votes_of(double weight, int count, std::uint64_t seed) {
    Draws draws(seed);
    const auto unit = [&] { return static_cast<double>(draws.next() >> 11U) / 9007199254740992.0; };
    std::vector<PricedVote> votes;
    for (int i = 0; i < count; ++i) {
        const double points = 30 * unit() - 15;
        const double first = 1 / (1 + std::exp(-weight * kLogitsOfPoint * points));
        votes.push_back(
            {.points = points, .preferred = unit() < first ? Preferred::First : Preferred::Second});
    }
    return votes;
}

TEST(Minded, says_nothing_before_there_are_enough_votes) {
    const Minded few = how_much_is_minded(votes_of(4, 29, 1));
    EXPECT_FALSE(few.enough());
    EXPECT_EQ(few.weight, 1);
    EXPECT_EQ(how_much_is_minded({}).votes, 0U);
    // Pairs that nobody could tell apart do not count.
    EXPECT_EQ(how_much_is_minded(std::vector<PricedVote>(100, {.points = 0.2})).votes, 0U);
}

TEST(Minded, finds_the_weight_that_the_votes_were_cast_with) {
    for (const double weight : {0.3, 1.0, 3.0}) {
        int covered = 0;
        for (std::uint64_t seed = 1; seed <= 40; ++seed) {
            const Minded minded = how_much_is_minded(votes_of(weight, 200, seed));
            EXPECT_NEAR(std::log(minded.weight), std::log(weight), 1.4) << weight << " " << seed;
            covered += minded.interval.low <= weight && weight <= minded.interval.high;
        }
        EXPECT_GE(covered, 34) << weight;
    }
}

TEST(Minded, falls_when_nobody_sees_what_the_lab_takes_off) {
    std::vector<PricedVote> blind(60, {.points = 10, .preferred = Preferred::Neither});
    const Minded never = how_much_is_minded(blind);
    EXPECT_LT(never.weight, 0.5);
    for (PricedVote& vote : blind) vote.preferred = Preferred::First;
    EXPECT_GT(how_much_is_minded(blind).weight, 2);
}

}  // namespace
}  // namespace plimsoll::quality
