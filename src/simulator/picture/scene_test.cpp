// SPDX-License-Identifier: Apache-2.0
//
// Goal: what the quality functions say can be seen in the pictures, in order. Method: simple
// statistics of rendered pictures: differences of neighbours (noise), clipped pixels (burn),
// variance (wash), sharpest step (blur).
#include "simulator/picture/scene.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <cmath>
#include <ctime>

namespace plimsoll::simulator {
namespace {

Recipe dragon() {
    Recipe recipe;
    recipe.positive = "cute dragon character";
    recipe.model = "sd_xl_base_1.0.safetensors";
    recipe.seed = 7;
    recipe.steps = 30;
    recipe.native_side = 1024;
    return recipe;
}

// Median of the absolute second differences along rows: blind to outlines, sees noise.
double noise_of(const Pixels& pixels) {
    std::vector<int> differences;
    for (int y = 0; y < pixels.height; y += 3)
        for (int x = 1; x + 1 < pixels.width; ++x) {
            const auto at = [&](int column) {
                return static_cast<int>(
                    pixels
                        .rgb[(static_cast<std::size_t>(y) * static_cast<std::size_t>(pixels.width) +
                              static_cast<std::size_t>(column)) *
                             3]);
            };
            differences.push_back(std::abs(at(x - 1) - 2 * at(x) + at(x + 1)));
        }
    double sum = 0;
    std::ranges::sort(differences);
    for (std::size_t i = 0; i < differences.size() * 3 / 4; ++i) sum += differences[i];
    return sum / (static_cast<double>(differences.size()) * 0.75);
}

double clipped_share(const Pixels& pixels) {
    const auto clipped =
        std::ranges::count_if(pixels.rgb, [](int v) { return v == 0 || v == 255; });
    return static_cast<double>(clipped) / static_cast<double>(pixels.rgb.size());
}

double spread_of(const Pixels& pixels) {
    double sum = 0;
    double squares = 0;
    for (const int v : pixels.rgb) {
        sum += v;
        squares += static_cast<double>(v) * v;
    }
    const auto n = static_cast<double>(pixels.rgb.size());
    return std::sqrt(squares / n - sum / n * sum / n);
}

double distance(const Pixels& a, const Pixels& b) {
    double sum = 0;
    for (std::size_t i = 0; i < a.rgb.size(); ++i) sum += std::abs(int{a.rgb[i]} - int{b.rgb[i]});
    return sum / static_cast<double>(a.rgb.size());
}

TEST(Scene, the_same_recipe_gives_the_same_pixels_and_another_seed_or_prompt_does_not) {
    const Recipe recipe = dragon();
    const Pixels one = render_scene(recipe, 256, 192);
    EXPECT_EQ(one.rgb, render_scene(recipe, 256, 192).rgb);
    Recipe other = recipe;
    other.seed = 8;
    EXPECT_GT(distance(one, render_scene(other, 256, 192)), 5);
    other = recipe;
    other.positive = "a red car";
    EXPECT_GT(distance(one, render_scene(other, 256, 192)), 5);
}

TEST(Scene, more_steps_give_less_noise_and_the_same_composition) {
    double last = 1e9;
    Recipe recipe = dragon();
    recipe.steps = 60;
    const Pixels finished = render_scene(recipe, 512, 512);
    double last_distance = 1e9;
    for (const int steps : {2, 4, 8, 12, 20, 30}) {
        recipe.steps = steps;
        const Pixels pixels = render_scene(recipe, 512, 512);
        EXPECT_LT(noise_of(pixels), last) << steps;
        EXPECT_LT(distance(pixels, finished), last_distance) << steps;
        last = noise_of(pixels);
        last_distance = distance(pixels, finished);
    }
    EXPECT_LT(last_distance, 2);
}

TEST(Scene, a_second_order_sampler_is_cleaner_after_as_many_steps) {
    Recipe recipe = dragon();
    recipe.steps = 10;
    const double euler = noise_of(render_scene(recipe, 512, 512));
    recipe.sampler = "dpmpp_2m";
    const double second = noise_of(render_scene(recipe, 512, 512));
    recipe.scheduler = "karras";
    EXPECT_LT(second, euler);
    EXPECT_LT(noise_of(render_scene(recipe, 512, 512)), second);
}

TEST(Scene, ancestral_samplers_keep_moving_where_others_settle) {
    Recipe a = dragon();
    Recipe b = dragon();
    a.steps = 40;
    b.steps = 60;
    const double settled = distance(render_scene(a, 512, 512), render_scene(b, 512, 512));
    a.sampler = b.sampler = "euler_ancestral";
    EXPECT_GT(distance(render_scene(a, 512, 512), render_scene(b, 512, 512)), settled + 1);
}

TEST(Scene, high_cfg_burns_and_low_cfg_washes_out) {
    Recipe recipe = dragon();
    recipe.cfg = 7;
    const Pixels good = render_scene(recipe, 1024, 1024);
    double last = clipped_share(good);
    EXPECT_LT(last, 0.02);
    for (const double cfg : {11.0, 14.0, 18.0, 25.0}) {
        recipe.cfg = cfg;
        const double share = clipped_share(render_scene(recipe, 1024, 1024));
        EXPECT_GT(share, last) << cfg;
        last = share;
    }
    EXPECT_GT(last, 0.1);
    double spread = spread_of(good);
    for (const double cfg : {3.0, 2.0, 1.0}) {
        recipe.cfg = cfg;
        const double now = spread_of(render_scene(recipe, 1024, 1024));
        EXPECT_LT(now, spread) << cfg;
        spread = now;
    }
}

TEST(Scene, far_below_the_native_size_it_is_soft_and_far_above_it_repeats) {
    Recipe recipe = dragon();
    recipe.steps = 60;
    const auto sharpness = [](const Pixels& pixels) {
        std::vector<int> steps;
        for (std::size_t i = 3; i < pixels.rgb.size(); i += 3)
            steps.push_back(std::abs(int{pixels.rgb[i]} - int{pixels.rgb[i - 3]}));
        std::ranges::sort(steps);
        return steps[steps.size() * 995 / 1000];
    };
    recipe.native_side = 512;
    const int sharp = sharpness(render_scene(recipe, 512, 512));
    recipe.native_side = 1024;
    EXPECT_LT(sharpness(render_scene(recipe, 512, 512)), sharp);
    // Repetition: the left half resembles the right half once the side is twice the native one.
    const auto half_distance = [](const Pixels& pixels) {
        double sum = 0;
        const int half = pixels.width / 2;
        for (int y = 0; y < pixels.height; ++y)
            for (int x = 0; x < half; ++x) {
                const auto at = [&](int column) {
                    return int{pixels.rgb[(static_cast<std::size_t>(y) *
                                               static_cast<std::size_t>(pixels.width) +
                                           static_cast<std::size_t>(column)) *
                                          3]};
                };
                sum += std::abs(at(x) - at(x + half));
            }
        return sum / (static_cast<double>(half) * pixels.height);
    };
    recipe.native_side = 512;
    const double known = half_distance(render_scene(recipe, 512, 512));
    EXPECT_LT(half_distance(render_scene(recipe, 952, 952)), known);
}

TEST(Scene, denoise_below_one_keeps_the_start_picture) {
    Recipe recipe = dragon();
    const auto start = std::make_shared<const Pixels>(render_scene(recipe, 256, 256));
    recipe.seed = 99;
    recipe.start = start;
    double last = -1;
    for (const double denoise : {0.2, 0.5, 0.8}) {
        recipe.denoise = denoise;
        const double far = distance(render_scene(recipe, 256, 256), *start);
        EXPECT_GT(far, last);
        last = far;
    }
}

TEST(Quality, badness_is_least_in_the_middle_and_grows_on_every_side) {
    const auto bad = [](auto change) {
        PictureSettings settings{.width = 1024, .height = 1024, .steps = 40, .native_side = 1024};
        change(settings);
        return badness(true_defects(settings));
    };
    const double best = bad([](auto&) {});
    EXPECT_LT(best, 0.02);
    EXPECT_GT(bad([](auto& s) { s.steps = 4; }), best + 0.3);
    EXPECT_GT(bad([](auto& s) { s.cfg = 20; }), best + 0.5);
    EXPECT_GT(bad([](auto& s) { s.cfg = 1; }), best + 0.5);
    EXPECT_GT(bad([](auto& s) { s.width = s.height = 512; }), best + 0.3);
    EXPECT_GT(bad([](auto& s) { s.width = s.height = 2048; }), best + 0.5);
}

TEST(Pixels, png_jpeg_and_webp_come_back_and_png_carries_its_texts) {
    Recipe recipe = dragon();
    const Pixels pixels = render_scene(recipe, 200, 120);
    const std::string png = encode_png(pixels, {{"prompt", "{\"3\": 1}"}, {"workflow", "{}"}}, 4);
    EXPECT_EQ(decode_picture(png)->rgb, pixels.rgb);
    EXPECT_THAT(png, testing::HasSubstr(std::string("tEXtprompt\0{\"3\": 1}", 19)));
    EXPECT_LT(png.find("tEXtprompt"), png.find("tEXtworkflow"));
    EXPECT_LT(png.find("tEXtworkflow"), png.find("IDAT"));
    EXPECT_LT(distance(*decode_picture(encode_jpeg(pixels, 95)), pixels), 4);
    EXPECT_LT(distance(*decode_picture(encode_webp(pixels, 90)), pixels), 4);
    for (const auto* const bad : {"", "hello", "\x89PNG\r\n\x1a\n", "\xFF\xD8\xFF", "RIFF....WEBP"})
        EXPECT_FALSE(decode_picture(bad)) << bad;
    EXPECT_FALSE(decode_picture(png.substr(0, png.size() / 2)));
}

}  // namespace
}  // namespace plimsoll::simulator
