// SPDX-License-Identifier: Apache-2.0
#include "quality/scores.h"

#include <gtest/gtest.h>

#include <set>

namespace plimsoll::quality {
namespace {

TEST(Measures, have_a_name_of_their_own_by_which_they_are_found) {
    std::set<std::string_view> names;
    for (const MeasureFacts& facts : all_measures()) {
        EXPECT_TRUE(names.insert(facts.name).second) << facts.name;
        EXPECT_EQ(find_measure(facts.name), facts.measure);
        EXPECT_EQ(&facts_of(facts.measure), &facts);
        EXPECT_FALSE(facts.title.empty());
        EXPECT_FALSE(facts.what.empty());
    }
    EXPECT_EQ(find_measure("beauty"), std::nullopt);
}

TEST(Scores, tell_a_missing_value_from_one_that_nobody_asked_for) {
    Scores scores;
    scores.add_missing(Measure::MsSsim, Scale::Full, "needs 176 pixels");
    ASSERT_NE(scores.find(Measure::MsSsim), nullptr);
    EXPECT_EQ(scores.find(Measure::MsSsim)->reason, "needs 176 pixels");
    EXPECT_EQ(scores.value(Measure::MsSsim), std::nullopt);
    EXPECT_EQ(scores.find(Measure::Gmsd), nullptr);
}

TEST(Scores, have_a_mean_over_scales_only_when_every_scale_has_a_value) {
    Scores scores;
    scores.add(Measure::HaarPsi, Scale::Full, 0.5);
    scores.add(Measure::HaarPsi, Scale::Half, 0.75);
    EXPECT_EQ(scores.mean_over_scales(Measure::HaarPsi), std::nullopt);
    scores.add(Measure::HaarPsi, Scale::Quarter, 1.0);
    EXPECT_EQ(scores.mean_over_scales(Measure::HaarPsi), 0.75);
}

}  // namespace
}  // namespace plimsoll::quality
