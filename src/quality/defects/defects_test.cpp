// SPDX-License-Identifier: Apache-2.0
//
// Goal: each measure of a single picture finds the defect that it is for. Method: the reference's
// test vectors, and defects of known strength put into made pictures.
#include "quality/defects/burn.h"
#include "quality/defects/colour.h"
#include "quality/defects/grid.h"
#include "quality/defects/noise.h"
#include "quality/defects/sharpness.h"
#include "quality/defects/spectrum.h"
#include "quality/test_pictures.h"

#include <gtest/gtest.h>

#include <array>
#include <cmath>
#include <functional>

namespace plimsoll::quality {
namespace {

struct Vector {
    const char* name;
    test::Levels picture;
    double flat_noise, laplacian, tenengrad, grid8, grid16, colourful, clipped, saturation,
        saturated, chroma95, contrast;
};

std::vector<Vector> vectors() {
    return {{"A", test::picture_a(), 2.35442, 133.842, 470.999, 1.01798, 1.02296, 139.11114,
             .047287, .669389, .097183, 103.3066, .194030},
            {"B", test::picture_b(), 6.77420, 1154.051, 1671.812, 1.02589, 1.02981, 138.74920,
             .089676, .670349, .101105, 102.9898, .195649},
            {"C", test::picture_c(), .35979, 6.065, 332.956, 1.01333, 1.03278, 138.95869, .001968,
             .670384, .100372, 103.2568, .193677}};
}

TEST(PictureMeasures, give_the_vectors) {
    for (const Vector& vector : vectors()) {
        SCOPED_TRACE(vector.name);
        const Image image = vector.picture.image();
        const Plane luma = whole_luma(image);
        EXPECT_NEAR(*flat_noise(luma), vector.flat_noise, 1e-3 * vector.flat_noise);
        const Sharpness sharpness = measure_sharpness(luma);
        EXPECT_NEAR(sharpness.laplacian_variance, vector.laplacian, 1e-3 * vector.laplacian);
        EXPECT_NEAR(sharpness.tenengrad, vector.tenengrad, 1e-3 * vector.tenengrad);
        EXPECT_NEAR(*grid_ratio(luma, 8), vector.grid8, 5e-4);
        EXPECT_NEAR(*grid_ratio(luma, 16), vector.grid16, 5e-4);
        const ColourStatistics colour = measure_colour(image);
        EXPECT_NEAR(colour.colourfulness, vector.colourful, 1e-4 * vector.colourful);
        EXPECT_NEAR(colour.clipped_share, vector.clipped, 1e-6);
        EXPECT_NEAR(colour.saturation, vector.saturation, 2e-6);
        // 19/20 is 0.95 exactly; the vectors counted some of those pixels, by rounding.
        EXPECT_NEAR(colour.saturated_share, vector.saturated, 2e-4);
        EXPECT_NEAR(colour.chroma95, vector.chroma95, 0.02);
        EXPECT_NEAR(measure_tones(luma).contrast, vector.contrast, 1e-5);
    }
}

// `measure` rises with each step of the defect, the picture without it included.
void expect_rising(const std::vector<test::Levels>& pictures,
                   const std::function<double(const Image&)>& measure) {
    double before = -std::numeric_limits<double>::infinity();
    for (const test::Levels& picture : pictures) {
        const double value = measure(picture.image());
        EXPECT_GT(value, before);
        before = value;
    }
}

std::vector<test::Levels> scenes(std::initializer_list<double> steps,
                                 const std::function<test::Levels(double)>& degraded) {
    std::vector<test::Levels> out{test::scene(256, 5)};
    for (const double step : steps) out.push_back(degraded(step));
    return out;
}

TEST(FlatNoise, follows_noise_and_not_texture) {
    expect_rising(scenes({2, 4, 8, 16},
                         [](double sigma) { return test::with_noise(test::scene(256, 5), sigma); }),
                  [](const Image& image) { return *flat_noise(whole_luma(image)); });
    // Noise of 5 that all channels share. The smoothest tenth of the blocks reads lower than the
    // mean of all by 1.28 of their spread: the kernel leaves 68 of a block's 256 samples
    // independent (its autocorrelation is 1, -2/3, 1/6 each way), so that a block's deviation
    // spreads by 1/sqrt(2 * 68).
    test::Levels flat{256, 256, std::vector<int>(256 * 256 * 3, 128)};
    test::Noise noise(3);
    for (std::size_t i = 0; i < flat.rgb.size(); i += 3) {
        const int k = static_cast<int>(std::lround(5 * noise.normal()));
        for (std::size_t c = 0; c < 3; ++c) flat.rgb[i + c] += k;
    }
    EXPECT_NEAR(*flat_noise(whole_luma(flat.image())), 5 * (1 - 1.28 / std::sqrt(2 * 68.0)), 0.15);
    const test::Levels even{96, 96, std::vector<int>(96 * 96 * 3, 90)};
    EXPECT_EQ(flat_noise(whole_luma(even.image())), 0);
}

TEST(FlatNoise, is_silent_when_everything_is_clipped) {
    EXPECT_EQ(flat_noise(
                  whole_luma(test::Levels{128, 128, std::vector<int>(128 * 128 * 3, 255)}.image())),
              std::nullopt);
    EXPECT_EQ(flat_noise(whole_luma(Image(1, 1))), std::nullopt);
}

TEST(SharpnessRatio, falls_with_blur_and_does_not_mind_contrast) {
    const auto sharpness = [](const test::Levels& levels) {
        return measure_sharpness(whole_luma(levels.image()));
    };
    const test::Levels original = test::scene(256, 5);
    double before = 1;
    for (const double sigma : {0.5, 0.8, 1.5, 3.0}) {
        const double ratio =
            *sharpness_ratio(sharpness(original), sharpness(test::blurred(original, sigma)));
        EXPECT_LT(ratio, before);
        before = ratio;
    }
    test::Levels faint = test::with_noise(test::blurred(original, 1), 8);
    const Sharpness full = sharpness(faint);
    for (int& level : faint.rgb) level = 64 + level / 2;
    EXPECT_NEAR(*sharpness_ratio(full, sharpness(faint)), 1, 0.02);
    EXPECT_EQ(sharpness_ratio(full, sharpness({8, 8, std::vector<int>(192, 9)})), std::nullopt);
}

TEST(GridRatio, finds_the_period_and_its_strength) {
    for (const int period : {8, 16}) {
        const auto ratio = [period](const Image& image) {
            return *grid_ratio(whole_luma(image), period);
        };
        expect_rising(scenes({1, 2, 3, 6},
                             [period](double levels) {
                                 return test::with_grid(test::scene(256, 5), period,
                                                        static_cast<int>(levels));
                             }),
                      ratio);
    }
    // A grid of 16 is one of 8 at every other line; one of 8 stands out less at 16.
    const Plane eight = whole_luma(test::with_grid(test::scene(256, 5), 8, 4).image());
    EXPECT_GT(*grid_ratio(eight, 8), *grid_ratio(eight, 12));
}

TEST(GridRatio, finds_the_seam_of_two_tiles) {
    test::Levels seam = test::scene(512, 6);
    const double before = *grid_ratio(whole_luma(seam.image()), 192);
    for (int y = 0; y < 512; ++y)
        for (int x = 192; x < 384; ++x)
            for (int c = 0; c < 3; ++c) seam.at(x, y, c) = std::min(255, seam.at(x, y, c) + 24);
    EXPECT_GT(*grid_ratio(whole_luma(seam.image()), 192), 1.5 * before);
}

TEST(GridRatio, needs_two_periods_and_a_picture_that_varies) {
    EXPECT_EQ(grid_ratio(whole_luma(Image(15, 64)), 8), std::nullopt);
    EXPECT_EQ(grid_ratio(whole_luma(Image(64, 64)), 8), std::nullopt);
}

TEST(ColourStatistics, rise_with_burn) {
    const std::vector<test::Levels> pictures = scenes({1.2, 1.5, 2}, [](double strength) {
        return test::burnt(test::scene(256, 5), strength, 1 + (strength - 1) * 0.6);
    });
    using Field = double ColourStatistics::*;
    for (const Field field : {&ColourStatistics::clipped_share, &ColourStatistics::saturation,
                              &ColourStatistics::saturated_share, &ColourStatistics::chroma95,
                              &ColourStatistics::colourfulness})
        expect_rising(pictures,
                      [field](const Image& image) { return measure_colour(image).*field; });
    expect_rising(pictures,
                  [](const Image& image) { return measure_tones(whole_luma(image)).contrast; });
}

TEST(ColourStatistics, know_the_corners_of_srgb) {
    // CIELAB's chroma of sRGB's primaries as commonly tabulated: red 104.55, green 119.78, blue
    // 133.81.
    const auto flat = [](std::uint8_t r, std::uint8_t g, std::uint8_t b) {
        const std::array<std::uint8_t, 3> pixel{r, g, b};
        return measure_colour(image_of_rgb8(pixel, 1, 1));
    };
    EXPECT_NEAR(flat(255, 0, 0).chroma95, 104.55, 0.05);
    EXPECT_NEAR(flat(0, 255, 0).chroma95, 119.78, 0.05);
    EXPECT_NEAR(flat(0, 0, 255).chroma95, 133.81, 0.05);
    EXPECT_NEAR(flat(119, 119, 119).chroma95, 0, 0.05);
    EXPECT_EQ(flat(0, 0, 0).saturation, 0);
    EXPECT_EQ(flat(255, 0, 0).saturation, 1);
    EXPECT_EQ(flat(255, 0, 0).saturated_share, 1);
    EXPECT_EQ(flat(128, 128, 128).colourfulness, 0);
}

TEST(ToneStatistics, have_the_entropy_of_what_is_equally_often) {
    Plane plane(256, 4);
    for (int y = 0; y < 4; ++y)
        for (std::size_t x = 0; x < 256; ++x) plane.row(y)[x] = static_cast<float>(x);
    EXPECT_NEAR(measure_tones(plane).entropy, 8, 1e-9);
    EXPECT_EQ(measure_tones(Plane(4, 4)).entropy, 0);
    EXPECT_EQ(measure_tones(Plane(4, 4)).contrast, 0);
}

Scores burn_scores(const test::Levels& picture) {
    const Image image = picture.image();
    const ColourStatistics colour = measure_colour(image);
    Scores scores;
    scores.add(Measure::ClippedShare, Scale::Full, colour.clipped_share);
    scores.add(Measure::SaturatedShare, Scale::Full, colour.saturated_share);
    scores.add(Measure::Chroma95, Scale::Full, colour.chroma95);
    scores.add(Measure::Contrast, Scale::Full, measure_tones(whole_luma(image)).contrast);
    return scores;
}

TEST(BurnIndex, rises_above_the_baselines_and_is_zero_among_them) {
    std::vector<Scores> baselines;
    for (const std::uint32_t seed : {1U, 2U, 3U, 4U, 5U})
        baselines.push_back(burn_scores(test::scene(128, seed)));
    const test::Levels picture = test::scene(128, 3);
    double before = *burn_index(burn_scores(picture), baselines);
    for (const double strength : {1.3, 1.6, 2.0, 2.6}) {
        const double index =
            *burn_index(burn_scores(test::burnt(picture, strength, 1.3)), baselines);
        EXPECT_GT(index, before);
        before = index;
    }
    const std::vector<Scores> equal(3, burn_scores(picture));
    EXPECT_EQ(*burn_index(burn_scores(picture), equal), 0);
    EXPECT_FALSE(burn_index(burn_scores(picture), std::span(equal).first(2)));
    EXPECT_FALSE(burn_index(Scores{}, equal));
}

TEST(RobustSpread, is_not_moved_by_one_that_is_far_off) {
    const RobustSpread spread = robust_spread({1, 2, 3, 4, 1000});
    EXPECT_EQ(spread.median, 3);
    EXPECT_NEAR(spread.deviation, 1.4826, 1e-12);
    EXPECT_EQ(robust_spread({1, 3}).median, 2);
}

// Noise whose power falls with the frequency's `power`: waves of all directions and lengths.
Plane noise_of_slope(int side, double power, std::uint32_t seed) {
    Plane plane(side, side);
    test::Noise noise(seed);
    for (int fy = 0; fy < 48; ++fy)
        for (int fx = -48; fx < 48; ++fx) {
            if (fy == 0 && fx <= 0) continue;
            // 96 x 48 frequencies up to 0.5 cycles a pixel.
            const double u = fx / 96.0;
            const double v = fy / 96.0;
            const double amplitude = std::pow(std::hypot(u, v), power / 2);
            const double phase = 2 * std::numbers::pi * noise.uniform();
            for (int y = 0; y < side; ++y)
                for (int x = 0; x < side; ++x)
                    plane.row(y)[static_cast<std::size_t>(x)] += static_cast<float>(
                        amplitude * std::cos(2 * std::numbers::pi * (u * x + v * y) + phase));
        }
    return plane;
}

TEST(Spectrum, has_the_slope_that_was_put_in) {
    for (const double power : {0.0, -1.0, -2.0})
        EXPECT_NEAR(measure_spectrum(noise_of_slope(64, power, 11))->slope, power, 0.25);
}

TEST(Spectrum, tells_noise_and_smearing_apart_by_its_tail) {
    const auto tail = [](const test::Levels& picture) {
        return measure_spectrum(whole_luma(picture.image()))->tail_slope;
    };
    const auto share = [](const test::Levels& picture) {
        return measure_spectrum(whole_luma(picture.image()))->high_share;
    };
    const test::Levels picture = test::scene(256, 5);
    EXPECT_GT(tail(test::with_noise(picture, 12)), tail(picture));
    EXPECT_LT(tail(test::blurred(picture, 0.8)), tail(picture) - 1);
    EXPECT_GT(share(test::with_noise(picture, 12)), share(picture));
    EXPECT_LT(share(test::blurred(picture, 0.8)), share(picture));
    EXPECT_EQ(measure_spectrum(Plane(64, 64)).has_value(), false);
}

}  // namespace
}  // namespace plimsoll::quality
