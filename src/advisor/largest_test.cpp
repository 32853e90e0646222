// SPDX-License-Identifier: Apache-2.0
#include "advisor/largest.h"

#include "advisor/loader_law.h"
#include "advisor/text_to_image.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <cmath>

namespace plimsoll::advisor {
namespace {

using ::testing::HasSubstr;

std::string job(int width, int height, int batch = 1) {
    return build_text_to_image({.model = "m", .width = width, .height = height, .batch = batch},
                               "m.safetensors", "p", "");
}

// The law is monotone in every knob, so the answer must fit and its successor must not; a linear
// search agrees.
TEST(Largest, is_the_last_value_that_fits) {
    const LoaderLaw law;
    const Budget budget;
    for (const Knob knob : {Knob::Width, Knob::Height, Knob::Batch}) {
        const KnobLimits limits = default_limits(knob);
        const auto found = largest(job(1024, 1024), knob, limits, budget, law);
        ASSERT_TRUE(found.has_value() && found->value.has_value()) << knob_name(knob);
        const auto fits = [&](double at) {
            const int value = static_cast<int>(at);
            const std::string text = knob == Knob::Width    ? job(value, 1024)
                                     : knob == Knob::Height ? job(1024, value)
                                                            : job(1024, 1024, value);
            return judge(*law({text, {}}), budget).standing != Standing::Over &&
                   judge(*law({text, {}}), budget).in_time;
        };
        EXPECT_TRUE(fits(*found->value));
        EXPECT_FALSE(fits(*found->value + limits.step));
        EXPECT_EQ(std::fmod(*found->value - limits.min, limits.step), 0);
        EXPECT_THAT(found->next_value_fails_because,
                    HasSubstr(fmt::format(" {}:", *found->value + limits.step)));
        EXPECT_LE(found->forecasts, 12);
    }
}

TEST(Largest, reaches_the_limit_where_all_fits_and_nothing_where_none_does) {
    LoaderLaw huge;
    huge.free_mib = 80'000;
    const Budget wide = *make_budget(80'000, 0.1, 10'000);
    const auto all = largest(job(1024, 1024), Knob::Batch, {1, 4, 1}, wide, huge);
    EXPECT_EQ(all->value, 4);
    EXPECT_EQ(all->next_value_fails_because, "");
    const auto none =
        largest(job(2048, 2048), Knob::Batch, {1, 4, 1}, *make_budget(256, 0, 30), LoaderLaw{});
    ASSERT_TRUE(none.has_value());
    EXPECT_FALSE(none->value.has_value());
    EXPECT_THAT(none->next_value_fails_because, HasSubstr("batch 1"));
}

// Frames are a knob of nodes that make videos, whatever they are called.
TEST(Largest, turns_the_frames_of_a_video) {
    const std::string video =
        R"({"1": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 832, "height": 480, )"
        R"("length": 81, "batch_size": 1}}})";
    int most = 0;
    const Forecaster asked = [&](const Scenario& scenario) -> Result<PricedForecast> {
        const auto graph = workflow::parse_api_workflow(scenario.workflow).value();
        const auto length = static_cast<int>(*graph.find("1")->int_of("length"));
        most = std::max(most, length);
        PricedForecast forecast;
        forecast.memory.floor = Bytes::from_mib(length * 40.0);
        forecast.memory.peak = forecast.memory.floor;
        forecast.memory.verdict = memory::Verdict::Fits;
        return forecast;
    };
    const auto found = largest(video, Knob::Frames, default_limits(Knob::Frames),
                               *make_budget(5120, 0.15, 30), asked);
    ASSERT_TRUE(found.has_value() && found->value.has_value());
    EXPECT_EQ(most, default_limits(Knob::Frames).max);
    EXPECT_LE(*found->value * 40, 4352);
    EXPECT_GT((*found->value + 4) * 40, 4352);
    EXPECT_EQ(std::fmod(*found->value, 4), 1);
    EXPECT_FALSE(largest(job(512, 512), Knob::Frames, default_limits(Knob::Frames), {}, LoaderLaw{})
                     .has_value());
}

// Steps cost time alone: what bounds them is the limit of minutes, and memory that is over its line
// at any number of them.
TEST(Largest, turns_the_steps_until_the_time_is_up) {
    const LoaderLaw law;
    const KnobLimits limits = default_limits(Knob::Steps);
    const Budget minutes = *make_budget(5120, 0.15, 2);
    const auto found = largest(job(1024, 1024), Knob::Steps, limits, minutes, law);
    ASSERT_TRUE(found.has_value() && found->value.has_value());
    const auto seconds = [&](double steps) {
        const std::string text = build_text_to_image(
            {.model = "m", .width = 1024, .height = 1024, .steps = static_cast<int>(steps)},
            "m.safetensors", "p", "");
        return law({text, {}})->seconds.total;
    };
    EXPECT_LE(seconds(*found->value), 120);
    EXPECT_GT(seconds(*found->value + 1), 120);
    EXPECT_THAT(found->next_value_fails_because, HasSubstr("is above the limit of"));

    const auto unbound =
        largest(job(1024, 1024), Knob::Steps, limits, *make_budget(5120, 0.15, 1440), law);
    EXPECT_EQ(unbound->value, limits.max);
    EXPECT_EQ(unbound->forecasts, 1);
    EXPECT_FALSE(
        largest(job(2048, 2048), Knob::Steps, limits, *make_budget(1024, 0.5, 1440), law)->value);
}

// Above 1 a second half is computed in each forward: where that is too much, 1 is what is left.
TEST(Largest, turns_the_cfg_in_halves) {
    std::vector<double> asked;
    const Forecaster halves = [&](const Scenario& scenario) -> Result<PricedForecast> {
        const auto graph = workflow::parse_api_workflow(scenario.workflow).value();
        const double cfg = *graph.find("3")->number_of("cfg");
        asked.push_back(cfg);
        PricedForecast forecast;
        forecast.memory.verdict = memory::Verdict::Fits;
        forecast.seconds.total = cfg > 1 ? 100 : 50;
        return forecast;
    };
    const KnobLimits limits = default_limits(Knob::Cfg);
    const auto tight =
        largest(job(512, 512), Knob::Cfg, limits, *make_budget(5120, 0.15, 1), halves);
    EXPECT_EQ(tight->value, 1.0);
    EXPECT_THAT(tight->next_value_fails_because, HasSubstr("cfg 1.5:"));
    EXPECT_THAT(asked, testing::Each(testing::AllOf(testing::Ge(1.0), testing::Le(15.0))));
    const auto wide =
        largest(job(512, 512), Knob::Cfg, limits, *make_budget(5120, 0.15, 30), halves);
    EXPECT_EQ(wide->value, 15.0);
}

// Where a scheduler has the steps and a guider the cfg, these are the nodes that are turned.
TEST(Largest, finds_the_steps_and_the_cfg_of_a_custom_sampler) {
    const std::string custom =
        R"({"1": {"class_type": "BasicScheduler", "inputs": {"steps": 20, "model": ["9", 0]}}, )"
        R"("2": {"class_type": "CFGGuider", "inputs": {"cfg": 3.5, "model": ["9", 0]}}, )"
        R"("4": {"class_type": "SamplerCustomAdvanced", "inputs": {"sigmas": ["1", 0], "guider": ["2", 0]}}})";
    double steps = 0;
    double cfg = 0;
    const Forecaster asked = [&](const Scenario& scenario) -> Result<PricedForecast> {
        const auto graph = workflow::parse_api_workflow(scenario.workflow).value();
        steps = *graph.find("1")->number_of("steps");
        cfg = *graph.find("2")->number_of("cfg");
        return PricedForecast{};
    };
    EXPECT_EQ(largest(custom, Knob::Steps, default_limits(Knob::Steps), {}, asked)->value, 200);
    EXPECT_EQ(steps, 200);
    EXPECT_EQ(largest(custom, Knob::Cfg, default_limits(Knob::Cfg), {}, asked)->value, 15);
    EXPECT_EQ(cfg, 15);
    const std::string neither =
        R"({"1": {"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64}}})";
    EXPECT_EQ(largest(neither, Knob::Steps, default_limits(Knob::Steps), {}, asked).error().message,
              "the workflow samples by no steps of its own");
}

TEST(Largest, says_what_is_wrong_with_a_workflow_without_size) {
    EXPECT_EQ(largest("{}", Knob::Width, default_limits(Knob::Width), {}, LoaderLaw{}).has_value(),
              false);
    const std::string no_latent =
        R"({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}}})";
    EXPECT_EQ(
        largest(no_latent, Knob::Width, default_limits(Knob::Width), {}, LoaderLaw{}).error().code,
        Errc::NotFound);
    const std::string computed =
        R"({"1": {"class_type": "EmptyLatentImage", "inputs": {"width": ["9", 0], "height": 64}},
        "3": {"class_type": "KSampler", "inputs": {"latent_image": ["1", 0]}}})";
    EXPECT_THAT(largest(computed, Knob::Width, default_limits(Knob::Width), {}, LoaderLaw{})
                    .error()
                    .message,
                HasSubstr("computed in the graph"));
    EXPECT_FALSE(largest(job(512, 512), Knob::Width, {8, 4, 8}, {}, LoaderLaw{}).has_value());
}

TEST(ParseKnob, knows_its_own_names) {
    for (const Knob knob :
         {Knob::Width, Knob::Height, Knob::Batch, Knob::Frames, Knob::Tile, Knob::Steps, Knob::Cfg})
        EXPECT_EQ(*parse_knob(knob_name(knob)), knob);
    EXPECT_EQ(*parse_knob("Batch"), Knob::Batch);
    EXPECT_THAT(parse_knob("depth").error().message, HasSubstr("width, height, batch"));
}

}  // namespace
}  // namespace plimsoll::advisor
