// SPDX-License-Identifier: Apache-2.0
//
// Goal: the statistics of natural scenes are those of the papers, NIQE knows its own references,
// and a BRISQUE file of OpenCV's is read or refused. Method: the reference's test vectors, values
// known from the distributions themselves, made files.
#include "quality/natural/brisque.h"
#include "quality/natural/niqe.h"
#include "quality/natural/statistics.h"
#include "quality/natural/symmetric_matrix.h"
#include "quality/test_pictures.h"

#include <fmt/format.h>
#include <fmt/ranges.h>
#include <gtest/gtest.h>

#include <array>
#include <cmath>

namespace plimsoll::quality {
namespace {

TEST(BrisqueFeatures, are_those_of_the_vectors) {
    // alpha moves in steps of .001; the other tolerances are the vectors' own, 1e-3 of the value.
    constexpr std::array<double, 36> kWanted{
        6.39500, .28900,  1.10800, -.03724, .10341, .07299,  1.10700, -.04069, .10519,
        .07191,  1.08100, -.02118, .09763,  .08012, 1.08100, -.02270, .09842,  .07964,
        1.19000, .07777,  .45000,  .03893,  .00420, .01962,  .45000,  .03675,  .00433,
        .01874,  .45700,  .02598,  .00541,  .01522, .46200,  .03378,  .00494,  .01812};
    const BrisqueFeatures features = *brisque_features(whole_luma(test::picture_a().image()));
    for (std::size_t i = 0; i < kWanted.size(); ++i)
        EXPECT_NEAR(features.at(i), kWanted.at(i), std::max(1.1e-3, 2e-3 * std::abs(kWanted.at(i))))
            << i;
}

TEST(BrisqueFeatures, do_not_exist_for_one_level) {
    EXPECT_EQ(brisque_features(Plane(32, 32)), std::nullopt);
}

TEST(GeneralGaussian, is_found_again_in_what_it_made) {
    test::Noise noise(4);
    std::vector<float> gauss(200'000);
    std::vector<float> laplace(200'000);
    for (float& value : gauss) value = static_cast<float>(3 * noise.normal());
    for (float& value : laplace)
        value = static_cast<float>(std::log(noise.uniform()) * (noise.uniform() < 0.5 ? 1 : -1));
    Moments moments;
    add_values(gauss, moments);
    EXPECT_NEAR(fit_symmetric(moments)->alpha, 2, 0.03);
    EXPECT_NEAR(fit_symmetric(moments)->variance, 9, 0.1);
    EXPECT_NEAR(fit_asymmetric(moments)->alpha, 2, 0.03);
    Moments peaked;
    add_values(laplace, peaked);
    EXPECT_NEAR(fit_symmetric(peaked)->alpha, 1, 0.02);
    EXPECT_NEAR(fit_symmetric(peaked)->variance, 2, 0.05);
}

TEST(AsymmetricGaussian, tells_its_two_sides_apart) {
    test::Noise noise(4);
    std::vector<float> values(200'000);
    // Sides are drawn in proportion to their widths, as the distribution has them.
    for (float& value : values) {
        const double size = std::abs(noise.normal());
        value = static_cast<float>(noise.uniform() < 0.25 ? -size : 3 * size);
    }
    Moments moments;
    add_values(values, moments);
    const AsymmetricGaussian fit = *fit_asymmetric(moments);
    EXPECT_NEAR(fit.alpha, 2, 0.05);
    EXPECT_NEAR(fit.left, 1, 0.02);
    EXPECT_NEAR(fit.right, 3, 0.05);
    EXPECT_EQ(fit_asymmetric(Moments{}), std::nullopt);
}

TEST(BicubicHalf, keeps_a_level_and_a_slope) {
    Plane plane(40, 30);
    for (int y = 0; y < 30; ++y)
        for (std::size_t x = 0; x < 40; ++x)
            plane.row(y)[x] = static_cast<float>(10 + 2 * x) + static_cast<float>(3 * y);
    const Plane half = bicubic_half(plane);
    EXPECT_EQ(half.width, 20);
    EXPECT_EQ(half.height, 15);
    // The middle of pixels 2x and 2x + 1, away from the mirror.
    EXPECT_NEAR(half.row(5)[8], 10 + 2 * 16.5 + 3 * 10.5, 1e-3);
    EXPECT_EQ(bicubic_half(Plane(1, 1)).count(), 1U);
}

TEST(InverseForm, is_the_pseudo_inverse_by_hand) {
    // [2 1; 1 2] has the inverse [2 -1; -1 2]/3.
    EXPECT_NEAR(inverse_form({2, 1, 1, 2}, std::array{1.0, 0.0}), 2.0 / 3, 1e-12);
    EXPECT_NEAR(inverse_form({2, 1, 1, 2}, std::array{1.0, 1.0}), 2.0 / 3, 1e-12);
    // The second direction has no variance and does not count.
    EXPECT_NEAR(inverse_form({4, 0, 0, 0}, std::array{2.0, 5.0}), 1, 1e-12);
    EXPECT_EQ(inverse_form({0, 0, 0, 0}, std::array{2.0, 5.0}), 0);
}

NiqeSample sample_of(const test::Levels& picture) {
    return sample_niqe(whole_luma(picture.image()));
}

class NiqeOfThisRun : public testing::Test {
  protected:
    static void SetUpTestSuite() {
        std::vector<NiqeSample> references;
        for (std::uint32_t seed = 21; seed < 27; ++seed)
            references.push_back(sample_of(picture_of(seed)));
        model_ = *fit_niqe(references);
    }
    static test::Levels picture_of(std::uint32_t seed) {
        return test::with_texture(test::scene(576, seed), 0.7, seed);
    }
    static inline NiqeModel model_;
};

TEST_F(NiqeOfThisRun, rises_with_noise_and_with_blur) {
    const test::Levels picture = picture_of(99);  // no reference
    const double clean = *niqe(model_, sample_of(picture));
    double before = clean;
    for (const double sigma : {4.0, 8.0, 16.0}) {
        const double value = *niqe(model_, sample_of(test::with_noise(picture, sigma)));
        EXPECT_GT(value, before) << sigma;
        before = value;
    }
    before = clean;
    for (const double sigma : {0.5, 0.8, 1.5}) {
        const double value = *niqe(model_, sample_of(test::blurred(picture, sigma)));
        EXPECT_GT(value, before) << sigma;
        before = value;
    }
}

TEST_F(NiqeOfThisRun, says_when_there_is_too_little_to_say) {
    const auto refused = niqe(model_, sample_of(test::scene(100, 1)));
    ASSERT_FALSE(refused);
    EXPECT_EQ(refused.error().message,
              "the picture has 1 blocks of 96 x 96 pixels with detail, 2 are needed");
    EXPECT_TRUE(sample_niqe(Plane(300, 300)).blocks.empty());
    const std::vector<NiqeSample> few(2, sample_of(test::scene(200, 1)));
    EXPECT_FALSE(fit_niqe(few));
}

// A file as FileStorage writes it, of two vectors.
struct MadeFile {
    std::array<double, 36> first{};
    std::array<double, 36> second{};
    std::string type = "EPS_SVR";
    int count = 2;
    std::string tail;

    [[nodiscard]] std::string model() const {
        return fmt::format(
            "%YAML:1.0\n---\nopencv_ml_svm:\n   format: 3\n   svmType: {}\n   kernel:\n      type: "
            "RBF\n"
            "      gamma: 5.0000000000000003e-02\n   C: 1024.\n   var_count: 36\n   sv_total: {}\n"
            "   support_vectors:\n      - [ {} ]\n      - [ {} ]\n   decision_functions:\n      -\n"
            "         sv_count: {}\n         rho: -1.5\n         alpha: [ 2., -4.0e+00 ]\n{}",
            type, count, fmt::join(first, ",\n   "), fmt::join(second, ", "), count, tail);
    }
    [[nodiscard]] static std::string range() {
        std::string numbers;
        for (int i = 0; i < 72; ++i)
            numbers += fmt::format("{}{}.", i == 0 ? "" : ", ", i < 36 ? 0 : 2);
        return "%YAML:1.0\n---\nrange: !!opencv-matrix\n   rows: 2\n   cols: 36\n   dt: f\n   "
               "data: [ " +
               numbers + " ]\n";
    }
};

TEST(BrisqueFile, gives_the_machine_that_it_holds) {
    MadeFile file;
    file.first.fill(0.5);
    const BrisqueModel model = *parse_brisque_model(file.model(), MadeFile::range());
    ASSERT_EQ(model.support_vectors.size(), 2U);
    EXPECT_EQ(model.support_vectors[0][35], 0.5);
    EXPECT_EQ(model.weights, (std::vector{2.0, -4.0}));
    // All features at the middle of their range are scaled to 0: 36 * 0.25 = 9 from the first
    // vector.
    BrisqueFeatures middle;
    middle.fill(1);
    EXPECT_NEAR(brisque(model, middle), 1.5 + 2 * std::exp(-0.05 * 9) - 4, 1e-12);
}

TEST(BrisqueFile, is_refused_when_it_is_something_else) {
    const MadeFile good;
    MadeFile other = good;
    other.type = "C_SVC";
    MadeFile more = good;
    more.count = 3;
    MadeFile huge = good;
    huge.count = 20'000;
    const std::string range = MadeFile::range();
    EXPECT_EQ(parse_brisque_model(other.model(), range).error().message,
              "no BRISQUE model of OpenCV's: its svmType is not EPS_SVR");
    EXPECT_EQ(parse_brisque_model(more.model(), range).error().message,
              "no BRISQUE model of OpenCV's: it ends after 2 of 3 support vectors");
    EXPECT_EQ(parse_brisque_model(huge.model(), range).error().code, Errc::LimitExceeded);
    EXPECT_FALSE(parse_brisque_model("", ""));
    // Every shorter file is refused and none is read beyond its end.
    const std::string model = good.model();
    const std::size_t needed = model.rfind(']');
    for (std::size_t size = 0; size <= needed; ++size)
        EXPECT_FALSE(parse_brisque_model(std::string_view(model).substr(0, size), range)) << size;
}

}  // namespace
}  // namespace plimsoll::quality
