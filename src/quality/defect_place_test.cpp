// SPDX-License-Identifier: Apache-2.0
// Goal: the place that is marked is the one that was spoiled, and a smaller picture is the mean of
// the larger. Method: a made picture with one spoiled part, for each defect.
#include "quality/defect_place.h"

#include "quality/decode/decode.h"
#include "quality/encode_jpeg.h"
#include "quality/shrink.h"
#include "quality/test_pictures.h"

#include <gtest/gtest.h>

#include <cstdlib>
#include <functional>
#include <numeric>
#include <span>

namespace plimsoll::quality {
namespace {

constexpr int kSide = 256;
// The spoiled part: two parts of eight.
constexpr int kLeft = 160;
constexpr int kTop = 64;
constexpr int kWide = 64;

// A calm ramp with fine detail on the right half, away from both ends of the range.
test::Levels calm() {
    test::Levels levels{kSide, kSide, std::vector<int>(test::index_of(0, kSide, kSide) * 3)};
    for (int y = 0; y < kSide; ++y)
        for (int x = 0; x < kSide; ++x)
            for (int c = 0; c < 3; ++c)
                levels.at(x, y, c) = 80 + x / 8 + y / 8 + (x >= kSide / 2 ? 12 * (x / 2 % 2) : 0);
    return levels;
}

Image spoiled(const std::function<int(test::Levels&, int x, int y, int c)>& how) {
    test::Levels levels = calm();
    test::Levels before = levels;
    for (int y = kTop; y < kTop + kWide; ++y)
        for (int x = kLeft; x < kLeft + kWide; ++x)
            for (int c = 0; c < 3; ++c) levels.at(x, y, c) = how(before, x, y, c);
    return levels.image();
}

void expect_inside(const std::optional<DefectPlace>& place, std::string_view defect) {
    ASSERT_TRUE(place) << defect;
    const int x = place->x + place->width / 2;
    const int y = place->y + place->height / 2;
    EXPECT_TRUE(x >= kLeft && x <= kLeft + kWide && y >= kTop && y <= kTop + kWide)
        << defect << " at " << x << ", " << y;
}

TEST(FindDefect, marks_the_part_that_was_spoiled) {
    const Image reference = calm().image();
    test::Noise noise(7);
    const Image noisy = spoiled([&](test::Levels& was, int x, int y, int c) {
        return was.at(x, y, c) + static_cast<int>(6 * noise.normal());
    });
    const Image blurred = spoiled([](test::Levels& was, int x, int y, int c) {
        return (was.at(x - 1, y, c) + was.at(x, y, c) + was.at(x + 1, y, c) + was.at(x + 2, y, c)) /
               4;
    });
    const Image burnt = spoiled([](test::Levels&, int, int, int c) { return c == 0 ? 255 : 20; });
    const Image gridded = spoiled([](test::Levels& was, int x, int y, int c) {
        return was.at(x, y, c) + (x / 8 % 2 == 0 ? 20 : 0);
    });
    expect_inside(find_defect(reference, blurred, "blur"), "blur");
    expect_inside(find_defect(reference, burnt, "burn"), "burn");
    expect_inside(find_defect(reference, gridded, "grid"), "grid");
    for (const Image* const one : {&noisy, &blurred, &burnt, &gridded})
        expect_inside(find_defect(reference, *one, kDifference), kDifference);
    const auto burn = find_defect(reference, burnt, "burn");
    EXPECT_DOUBLE_EQ(burn->here, 1);
    EXPECT_DOUBLE_EQ(burn->in_reference.value(), 0);
}

// Noise is looked for where the reference is calm: the left half of the made picture.
TEST(FindDefect, looks_for_noise_where_the_reference_is_calm) {
    const Image reference = calm().image();
    test::Levels levels = calm();
    test::Noise noise(7);
    for (int y = 128; y < 192; ++y)
        for (int x = 32; x < 96; ++x)
            for (int c = 0; c < 3; ++c) levels.at(x, y, c) += static_cast<int>(6 * noise.normal());
    const auto place = find_defect(reference, levels.image(), "noise");
    ASSERT_TRUE(place);
    EXPECT_TRUE(place->x >= 16 && place->x <= 80 && place->y >= 112 && place->y <= 176)
        << place->x << ", " << place->y;
    EXPECT_GT(place->here, 2 * place->in_reference.value());
}

TEST(FindDefect, has_nothing_to_say_about_equal_unknown_or_tiny_pictures) {
    const Image reference = calm().image();
    for (const auto defect : {"noise", "blur", "burn", "grid"})
        EXPECT_FALSE(find_defect(reference, reference, defect)) << defect;
    EXPECT_FALSE(find_defect(reference, reference, "dust"));
    EXPECT_FALSE(find_defect(Image(8, 8), Image(8, 8), "burn"));
    // Two sizes: only the candidate is looked at, and what needs both is not.
    EXPECT_FALSE(find_defect(Image(64, 64), reference, kDifference));
    EXPECT_FALSE(find_defect(Image(64, 64), reference, "blur"));
    EXPECT_TRUE(find_defect(Image(64, 64), reference, "noise"));
}

TEST(Shrunk, is_the_mean_of_what_lies_under_it) {
    Image image(6, 3);
    for (int y = 0; y < 3; ++y)
        for (int x = 0; x < 6; ++x)
            image.row(0, y)[static_cast<std::size_t>(x)] = static_cast<std::uint16_t>(100 * x);
    const Image half = shrunk(image, 3);
    EXPECT_EQ(half.width, 3);
    EXPECT_EQ(half.height, 2);
    EXPECT_EQ(half.row(0, 0)[0], 50);
    EXPECT_EQ(half.row(0, 1)[2], 450);
    EXPECT_EQ(shrunk(image, 6), image);
    EXPECT_EQ(shrunk(Image(1000, 1), 10).height, 1);
}

TEST(EncodeJpeg, is_read_again_nearly_as_it_was) {
    const Image image = calm().image();
    const std::string bytes = encode_jpeg(image, 90);
    const auto again = decode_image(std::as_bytes(std::span(bytes)));
    ASSERT_TRUE(again) << again.error().message;
    EXPECT_EQ(again->format, FileFormat::Jpeg);
    ASSERT_EQ(again->image.count(), image.count());
    double sum = 0;
    for (std::size_t i = 0; i < image.count(); ++i)
        sum += std::abs(int{image.channels[1][i]} - int{again->image.channels[1][i]});
    EXPECT_LT(sum / static_cast<double>(image.count()) / kSamplesPerLevel, 3);
}

}  // namespace
}  // namespace plimsoll::quality
