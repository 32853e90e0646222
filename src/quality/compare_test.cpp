// SPDX-License-Identifier: Apache-2.0
#include "quality/compare.h"

#include "quality/test_pictures.h"

#include <gtest/gtest.h>

#include <cmath>

namespace plimsoll::quality {
namespace {

TEST(Compare, scores_every_measure_once_in_order) {
    const Image a = test::picture_a().image();
    const Comparison both = compare(a, test::picture_b().image());
    std::vector<std::pair<Measure, Scale>> pair;
    std::vector<std::pair<Measure, Scale>> alone;
    for (const MeasureFacts& facts : all_measures())
        for (const Scale scale : {Scale::Full, Scale::Half, Scale::Quarter})
            if (scale == Scale::Full || facts.has_scales)
                (facts.needs == Needs::Pair ? pair : alone).emplace_back(facts.measure, scale);
    const auto keys = [](const Scores& scores) {
        std::vector<std::pair<Measure, Scale>> out;
        for (const Score& score : scores.all) {
            out.emplace_back(score.measure, score.scale);
            EXPECT_NE(score.value.has_value(), !score.reason.empty());
        }
        return out;
    };
    EXPECT_EQ(keys(both.pair), pair);
    EXPECT_EQ(keys(both.reference), alone);
    EXPECT_EQ(keys(both.candidate), alone);
    EXPECT_EQ(keys(compare(a, test::picture_a(64).image()).pair), pair);
}

TEST(Compare, has_the_vectors_in_their_places) {
    const Comparison both = compare(test::picture_a().image(), test::picture_b().image());
    EXPECT_EQ(both.likeness, Likeness::SamePicture);
    EXPECT_NEAR(*both.pair.value(Measure::MsSsim), 0.94812, 1e-4);
    EXPECT_NEAR(*both.pair.value(Measure::HaarPsi), 0.88777, 5e-5);
    EXPECT_NEAR(*both.pair.value(Measure::Mdsi), 0.34573, 5e-5);
    EXPECT_NEAR(*both.reference.value(Measure::ClippedShare), .047287, 1e-6);
    EXPECT_NEAR(*both.candidate.value(Measure::FlatNoise), 6.77420, 0.01);
    // Noise goes away as pixels are joined.
    EXPECT_GT(*both.pair.value(Measure::HaarPsi, Scale::Quarter),
              *both.pair.value(Measure::HaarPsi, Scale::Half));
}

TEST(Compare, tells_another_picture_from_a_worse_one) {
    const test::Levels original = test::scene(256, 5);
    EXPECT_EQ(compare(original.image(), test::blurred(original, 1.5).image()).likeness,
              Likeness::SamePicture);
    EXPECT_EQ(compare(original.image(), test::shifted(original, 1).image()).likeness,
              Likeness::SamePicture);
    EXPECT_EQ(compare(original.image(), test::scene(256, 6).image()).likeness,
              Likeness::OtherPicture);
}

TEST(Compare, says_why_pictures_of_two_sizes_have_no_pair_measures) {
    const Comparison both = compare(Image(64, 64), Image(64, 48));
    EXPECT_EQ(both.likeness, Likeness::Unknown);
    EXPECT_EQ(both.pair.find(Measure::Psnr)->reason,
              "the reference has 64 x 64 pixels, this has 64 x 48");
    EXPECT_TRUE(both.candidate.value(Measure::Colourfulness));
}

TEST(Compare, takes_one_pixel_and_any_other_small_size) {
    for (int width = 1; width < 40; width += 3)
        for (int height = 1; height < 40; height += 3) {
            const Image image(width, height);
            const Comparison both = compare(image, image);
            EXPECT_EQ(*both.pair.value(Measure::Psnr), std::numeric_limits<double>::infinity());
        }
    const Comparison one = compare(Image(1, 1), Image(1, 1));
    EXPECT_EQ(one.pair.find(Measure::HaarPsi)->reason, "needs 16 x 16 pixels, this has 1 x 1");
    EXPECT_EQ(one.pair.find(Measure::Psnr, Scale::Half)->reason,
              "needs 1 x 1 pixels, this has 0 x 0");
}

TEST(Compare, says_what_a_picture_of_one_level_lacks) {
    const Comparison both = compare(Image(256, 256), Image(256, 256));
    EXPECT_EQ(both.pair.value(Measure::HaarPsi), 1);
    EXPECT_EQ(both.pair.find(Measure::SharpnessRatio)->reason, "one of the pictures has no detail");
    EXPECT_EQ(both.candidate.find(Measure::SpectralSlope)->reason,
              "the picture has one level only");
    EXPECT_EQ(both.candidate.find(Measure::LatentGrid8)->reason, "the picture has one level only");
}

TEST(Inspect, holds_a_picture_against_the_models_that_it_is_given) {
    std::vector<NiqeSample> references;
    for (std::uint32_t seed = 1; seed < 5; ++seed)
        references.push_back(
            sample_niqe(whole_luma(test::with_texture(test::scene(576, seed), 0.7, seed).image())));
    const NiqeModel niqe = *fit_niqe(references);
    BrisqueModel brisque;
    brisque.most.fill(1);
    brisque.rho = -12;  // a machine without vectors: 12 for every picture
    const Image image = test::with_texture(test::scene(576, 9), 0.7, 9).image();
    const Scores scores = inspect(image, {.niqe = &niqe, .brisque = &brisque, .tile_stride = 192});
    EXPECT_GT(*scores.value(Measure::Niqe), 0);
    EXPECT_EQ(scores.value(Measure::Brisque), 12);
    EXPECT_GE(*scores.value(Measure::TilingSeams), 1);
    const Scores alone = inspect(image);
    EXPECT_EQ(alone.find(Measure::Brisque)->reason, "no BRISQUE model is given");
    EXPECT_EQ(alone.find(Measure::TilingSeams)->reason, "no tile size is given");
}

TEST(DifferenceMap, is_red_where_pictures_differ_and_grey_elsewhere) {
    const test::Levels original = test::scene(64, 5);
    test::Levels spoilt = original;
    for (int y = 40; y < 48; ++y)
        for (int x = 8; x < 16; ++x)
            for (int c = 0; c < 3; ++c) spoilt.at(x, y, c) = (x + y) % 4 < 2 ? 0 : 255;
    const Image map = difference_map(original.image(), spoilt.image());
    EXPECT_GT(map.row(0, 44)[12], map.row(1, 44)[12]);
    EXPECT_EQ(map.row(0, 10)[50], map.row(1, 10)[50]);
    EXPECT_EQ(map.width, 64);
}

}  // namespace
}  // namespace plimsoll::quality
