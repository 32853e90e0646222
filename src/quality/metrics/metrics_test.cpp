// SPDX-License-Identifier: Apache-2.0
//
// Goal: the metrics of a pair give what their papers define. Method: the test vectors of an
// independent implementation (three pictures made by a recipe), values that follow from the
// formulas by hand, and degradations that must cost more the stronger they are.
#include "quality/metrics/gmsd.h"
#include "quality/metrics/haar_psi.h"
#include "quality/metrics/mdsi.h"
#include "quality/metrics/psnr.h"
#include "quality/metrics/ssim.h"
#include "quality/test_pictures.h"

#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <numeric>

namespace plimsoll::quality {
namespace {

struct All {
    double psnr = 0;
    double ssim = 0;
    double ms_ssim = 0;
    double gmsd = 0;
    double haar_psi = 0;
    double mdsi = 0;
};

All all_of(const Image& a, const Image& b) {
    const Pyramid pa = make_pyramid(a);
    const Pyramid pb = make_pyramid(b);
    std::array<SsimMeans, 5> scales;
    for (std::size_t i = 0; i < 5; ++i) scales.at(i) = ssim_means(pa.luma[i], pb.luma[i]);
    const int side = mdsi_pool_side(a.width, a.height);
    return {.psnr = psnr(a, b),
            .ssim = scales[0].ssim,
            .ms_ssim = ms_ssim(scales),
            .gmsd = gmsd(pa.luma[1], pb.luma[1]),
            .haar_psi = haar_psi(pa.colours[0], pb.colours[0]),
            .mdsi = mdsi(pooled(a, side), pooled(b, side))};
}

TEST(TestPictures, are_those_of_the_reference) {
    const auto sum_of = [](const test::Levels& levels, std::size_t channel) {
        long sum = 0;
        for (std::size_t i = channel; i < levels.rgb.size(); i += 3) sum += levels.rgb[i];
        return sum;
    };
    const test::Levels a = test::picture_a();
    const test::Levels b = test::picture_b();
    const test::Levels c = test::picture_c();
    EXPECT_EQ(sum_of(a, 0), 8199981);
    EXPECT_EQ(sum_of(a, 1), 8386147);
    EXPECT_EQ(sum_of(a, 2), 8386127);
    EXPECT_EQ(sum_of(b, 0), 8184235);
    EXPECT_EQ(sum_of(b, 1), 8369886);
    EXPECT_EQ(sum_of(b, 2), 8369190);
    EXPECT_EQ(sum_of(c, 0), 8170792);
    EXPECT_EQ(sum_of(c, 1), 8356961);
    EXPECT_EQ(sum_of(c, 2), 8356960);
}

TEST(PairMetrics, give_the_vectors_for_more_noise) {
    const All all = all_of(test::picture_a().image(), test::picture_b().image());
    EXPECT_NEAR(all.psnr, 31.0116, 1e-4);
    EXPECT_NEAR(all.ssim, 0.64781, 1e-4);
    EXPECT_NEAR(all.ms_ssim, 0.94812, 1e-4);
    EXPECT_NEAR(all.gmsd, 0.03573, 5e-5);
    EXPECT_NEAR(all.haar_psi, 0.88777, 5e-5);
    EXPECT_NEAR(all.mdsi, 0.34573, 5e-5);
}

TEST(PairMetrics, give_the_vectors_for_a_blur) {
    const All all = all_of(test::picture_a().image(), test::picture_c().image());
    EXPECT_NEAR(all.psnr, 40.1929, 1e-4);
    EXPECT_NEAR(all.ssim, 0.92867, 1e-4);
    EXPECT_NEAR(all.ms_ssim, 0.99467, 1e-4);
    EXPECT_NEAR(all.gmsd, 0.00183, 1e-5);
    EXPECT_NEAR(all.haar_psi, 0.99087, 5e-5);
    EXPECT_NEAR(all.mdsi, 0.22049, 5e-5);
}

TEST(PairMetrics, find_a_picture_equal_to_itself) {
    const Image a = test::picture_a().image();
    const All all = all_of(a, a);
    EXPECT_EQ(all.psnr, std::numeric_limits<double>::infinity());
    EXPECT_NEAR(all.ssim, 1, 1e-6);
    EXPECT_NEAR(all.ms_ssim, 1, 1e-6);
    EXPECT_NEAR(all.gmsd, 0, 1e-5);
    EXPECT_NEAR(all.haar_psi, 1, 1e-5);
    EXPECT_LT(all.mdsi, 0.025);  // the fourth root of rounding
}

// Every metric gets worse with each step of `degrade`.
void expect_monotone(const std::vector<double>& steps,
                     const std::function<test::Levels(const test::Levels&, double)>& degrade) {
    const test::Levels original = test::scene(320, 5);
    const Image reference = original.image();
    All before = all_of(reference, reference);
    for (const double step : steps) {
        SCOPED_TRACE(step);
        const All all = all_of(reference, degrade(original, step).image());
        EXPECT_LT(all.psnr, before.psnr);
        EXPECT_LT(all.ssim, before.ssim);
        EXPECT_LT(all.ms_ssim, before.ms_ssim);
        EXPECT_GT(all.gmsd, before.gmsd);
        EXPECT_LT(all.haar_psi, before.haar_psi);
        EXPECT_GT(all.mdsi, before.mdsi);
        before = all;
    }
}

TEST(PairMetrics, get_worse_with_noise) {
    expect_monotone({1, 2, 4, 8, 16}, [](const test::Levels& from, double sigma) {
        return test::with_noise(from, sigma);
    });
}

TEST(PairMetrics, get_worse_with_blur) {
    expect_monotone({0.5, 0.8, 1.5, 3}, [](const test::Levels& from, double sigma) {
        return test::blurred(from, sigma);
    });
}

TEST(PairMetrics, get_worse_with_burn) {
    expect_monotone({1.1, 1.3, 1.6, 2}, [](const test::Levels& from, double saturation) {
        return test::burnt(from, saturation, 1 + (saturation - 1) / 2);
    });
}

TEST(HaarPsi, has_a_value_for_flat_pictures_too) {
    // Zeros lie around a picture: a flat one has its border for an edge, a black one has none at
    // all.
    Colours grey{{Plane(32, 32), Plane(32, 32), Plane(32, 32)}};
    for (Plane& plane : grey.planes) std::ranges::fill(plane.values, 100.0F);
    EXPECT_NEAR(haar_psi(grey, grey), 1, 1e-6);
    Colours black{{Plane(32, 32), Plane(32, 32), Plane(32, 32)}};
    EXPECT_EQ(haar_psi(black, black), 1);
    EXPECT_LT(haar_psi(grey, black), 0.5);
}

TEST(HaarPsi, loses_where_the_pictures_differ) {
    const Image a = test::scene(128, 3).image();
    test::Levels spoilt = test::scene(128, 3);
    for (int y = 80; y < 96; ++y)
        for (int x = 16; x < 32; ++x)
            for (int c = 0; c < 3; ++c) spoilt.at(x, y, c) = (x + y) % 2 == 0 ? 0 : 255;
    const Plane loss = haar_psi_loss(pooled(a, 2), pooled(spoilt.image(), 2));
    double inside = 0;
    double outside = 0;
    for (int y = 0; y < loss.height; ++y)
        for (int x = 0; x < loss.width; ++x)
            (x >= 4 && x < 20 && y >= 36 && y < 52 ? inside : outside) +=
                static_cast<double>(loss.row(y)[static_cast<std::size_t>(x)]);
    EXPECT_GT(inside, 0);
    EXPECT_EQ(outside, 0);
}

TEST(Mdsi, pools_to_about_256_pixels) {
    EXPECT_EQ(mdsi_pool_side(256, 256), 1);
    EXPECT_EQ(mdsi_pool_side(1024, 1536), 4);
    EXPECT_EQ(mdsi_pool_side(640, 4096), 3);  // 2.5 is rounded up
    EXPECT_EQ(mdsi_pool_side(1, 1), 1);
}

TEST(Mdsi, is_not_symmetric_in_the_direction_of_its_paper) {
    // The added term makes edges that only the candidate has count less than those that it lost;
    // the test vectors hold in this direction and not in the other.
    const Image clean = test::scene(256, 9).image();
    const Image noisy = test::with_noise(test::scene(256, 9), 8).image();
    EXPECT_LT(mdsi(pooled(clean, 1), pooled(noisy, 1)), mdsi(pooled(noisy, 1), pooled(clean, 1)));
}

}  // namespace
}  // namespace plimsoll::quality
