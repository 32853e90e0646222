// SPDX-License-Identifier: Apache-2.0
#include "advisor/evidence.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::advisor {
namespace {

using testing::HasSubstr;

Settings at(int steps) {
    Settings settings;
    settings.model = "m.safetensors";
    settings.steps = steps;
    return settings;
}
SettingQuality measured(int steps, double quality, double half = 1) {
    return {.settings = at(steps),
            .quality = quality,
            .low = quality - half,
            .high = quality + half,
            .pairs = 24};
}
QualityEvidence evidence() {
    return {.settings = {measured(10, 88), measured(20, 97), measured(30, 100, 0)}, .minding = {}};
}

TEST(QualityPrice, is_a_tenth_for_three_points_and_says_what_was_measured) {
    const auto price = price_of(evidence(), at(30), at(20)).value();
    EXPECT_NEAR(price.cost, 0.1, 1e-9);
    EXPECT_NEAR(price.low, 2 * 0.1 / 3, 1e-9);
    EXPECT_NEAR(price.high, 4 * 0.1 / 3, 1e-9);
    EXPECT_EQ(price.basis, PriceBasis::Measured);
    EXPECT_THAT(price.words.message(), HasSubstr("3 points of 100 worse (2 to 4), 24 pictures"));
}

TEST(QualityPrice, interpolates_between_steps_and_never_beyond_them) {
    EXPECT_NEAR(price_of(evidence(), at(30), at(15))->cost, 7.5 / 30, 1e-9);
    EXPECT_FALSE(price_of(evidence(), at(30), at(9)));
    EXPECT_FALSE(price_of(evidence(), at(40), at(20)));
    EXPECT_FALSE(price_of({}, at(30), at(20)));
}

TEST(QualityPrice, holds_for_what_is_alike_but_for_the_change) {
    Settings other = at(30);
    other.cfg = 3;
    Settings after = at(20);
    after.cfg = 3;
    EXPECT_FALSE(price_of(evidence(), other, after));
    // A folder before the file's name is the same file; another file is not.
    Settings before = at(30);
    before.model = "xl/m.safetensors";
    EXPECT_TRUE(price_of(evidence(), before, at(20)));
    before.model = "n.safetensors";
    EXPECT_FALSE(price_of(evidence(), before, at(20)));
}

TEST(QualityPrice, of_steps_holds_at_another_size_and_says_so) {
    Settings before = at(30);
    Settings after = at(20);
    before.width = after.width = 768;
    EXPECT_THAT(price_of(evidence(), before, after)->words.message(), HasSubstr("of 1024 x 1024"));
    // Of the size itself nothing was measured.
    after.width = 640;
    EXPECT_FALSE(price_of(evidence(), before, after));
}

TEST(QualityPrice, is_none_where_the_lab_is_not_sure_enough) {
    QualityEvidence vague = evidence();
    vague.settings[1] = measured(20, 97, 12);
    EXPECT_FALSE(price_of(vague, at(30), at(20)));
}

TEST(QualityPrice, is_never_a_gain) {
    QualityEvidence odd = evidence();
    odd.settings[1] = measured(20, 104);
    EXPECT_EQ(price_of(odd, at(30), at(20))->cost, 0);
    EXPECT_THAT(price_of(odd, at(30), at(20))->words.message(), HasSubstr("better"));
}

TEST(QualityPrice, is_weighed_by_how_much_the_user_minds) {
    QualityEvidence voted = evidence();
    voted.minding = {.weight = 0.5, .low = 0.3, .high = 0.9, .votes = 40};
    const auto price = price_of(voted, at(30), at(20)).value();
    EXPECT_NEAR(price.cost, 0.05, 1e-9);
    EXPECT_EQ(price.basis, PriceBasis::Votes);
    EXPECT_THAT(price.words.message(),
                HasSubstr("by your 40 votes you mind that 0.5 times as much"));
}

}  // namespace
}  // namespace plimsoll::advisor
