// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/marks.h"

#include <gtest/gtest.h>

#include <vector>

namespace plimsoll::quality {
namespace {

Seen picture(double noise, double clipped = 0.04, double sharpness = 0.1) {
    Seen seen;
    seen.distance = 0;
    seen.measures = {{Measure::FlatNoise, noise},
                     {Measure::Sharpness, sharpness},
                     {Measure::ClippedShare, clipped},
                     {Measure::Chroma95, 41}};
    return seen;
}
std::vector<Seen> references() {
    std::vector<Seen> out{picture(1.3), picture(1.5), picture(1.2), picture(1.4)};
    for (Seen& seen : out) seen.distance_to_other = 0.5;
    return out;
}

TEST(Marks, gives_the_reference_itself_full_marks) {
    const auto refs = references();
    const Calibration calibration = calibrate(refs, {});
    const Marks marks = marks_of(refs[0], refs[0], calibration);
    EXPECT_EQ(marks.retention, 100);
    EXPECT_EQ(marks.defects, 100);
    EXPECT_TRUE(marks.worst_defect.empty());
}

TEST(Marks, scales_retention_between_another_solver_and_another_seed) {
    const auto refs = references();
    Seen second = picture(1.3);
    second.distance = 0.1;
    const Calibration calibration = calibrate(refs, std::vector{second});
    Seen seen = picture(1.3);
    const auto retention = [&](double distance) {
        seen.distance = distance;
        return marks_of(seen, refs[0], calibration).retention.value();
    };
    EXPECT_EQ(retention(0.05), 100);
    EXPECT_NEAR(retention(0.3), 50, 1e-9);
    EXPECT_EQ(retention(0.6), 0);
}

TEST(Marks, names_the_worst_defect) {
    const auto refs = references();
    const Calibration calibration = calibrate(refs, {});
    const Marks noisy = marks_of(picture(4.0), refs[0], calibration);
    EXPECT_EQ(noisy.worst_defect, "noise");
    EXPECT_LT(noisy.defects, 50);
    const Marks burnt = marks_of(picture(1.3, 0.33), refs[0], calibration);
    EXPECT_EQ(burnt.worst_defect, "burn");
    const Marks blurred = marks_of(picture(1.3, 0.04, 0.02), refs[0], calibration);
    EXPECT_EQ(blurred.worst_defect, "blur");
}

TEST(Marks, name_statistics_that_are_unlike_the_runs_own) {
    auto refs = references();
    for (std::size_t i = 0; i < refs.size(); ++i) {
        refs[i].measures[Measure::Niqe] = 3 + 0.1 * static_cast<double>(i);
        refs[i].measures[Measure::Brisque] = 10;
        refs[i].measures[Measure::TilingSeams] = 1;
    }
    const Calibration calibration = calibrate(refs, {});
    Seen odd = refs[0];
    odd.measures[Measure::Niqe] = 12;
    EXPECT_EQ(marks_of(odd, refs[0], calibration).worst_defect, "statistics");
    EXPECT_NEAR(marks_of(odd, refs[0], calibration).defects, 70, 3);
    odd.measures[Measure::Niqe] = 3000;
    EXPECT_GT(marks_of(odd, refs[0], calibration).defects, 60);  // a weak sign, however far
    odd = refs[0];
    odd.measures[Measure::Brisque] = 50;
    EXPECT_EQ(marks_of(odd, refs[0], calibration).worst_defect, "statistics");
    odd = refs[0];
    odd.measures[Measure::TilingSeams] = 1.3;
    EXPECT_EQ(marks_of(odd, refs[0], calibration).worst_defect, "seams");
    // Where one of the two was not measured nothing is said.
    odd = refs[0];
    odd.measures.erase(Measure::Niqe);
    EXPECT_EQ(marks_of(odd, refs[0], calibration).defects, 100);
}

TEST(Marks, get_worse_with_the_defect_and_never_better) {
    const auto refs = references();
    const Calibration calibration = calibrate(refs, {});
    double before = 101;
    for (double noise = 1.3; noise < 6; noise += 0.2) {
        const double now = marks_of(picture(noise), refs[0], calibration).defects;
        EXPECT_LE(now, before);
        before = now;
    }
    // Less noise than the reference is no defect.
    EXPECT_EQ(marks_of(picture(0.2), refs[0], calibration).defects, 100);
}

TEST(Marks, of_what_cannot_be_compared_have_no_retention_and_say_why) {
    Comparison comparison;
    comparison.likeness = Likeness::SamePicture;
    for (const Scale scale : {Scale::Full, Scale::Half, Scale::Quarter})
        comparison.pair.add(Measure::HaarPsi, scale, 0.9);
    comparison.candidate.add(Measure::FlatNoise, Scale::Full, 1.3);
    EXPECT_NEAR(seen_of(comparison, true, "").distance.value(), 0.1, 1e-12);
    const Seen cfg = seen_of(comparison, false, "another CFG");
    EXPECT_FALSE(cfg.distance);
    EXPECT_EQ(cfg.why_no_distance, "another CFG");
    EXPECT_EQ(cfg.measures.size(), 1U);
    comparison.likeness = Likeness::OtherPicture;
    EXPECT_FALSE(seen_of(comparison, true, "").distance);
    EXPECT_FALSE(seen_of(comparison, true, "").why_no_distance.empty());
}

}  // namespace
}  // namespace plimsoll::quality
