// SPDX-License-Identifier: Apache-2.0
#include "advisor/settings.h"

#include "advisor/text_to_image.h"
#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <limits>

namespace plimsoll::advisor {
namespace {

using ::testing::HasSubstr;

Settings good() {
    return {.model = "sdxl-base"};
}

std::string error_of(const Settings& settings) {
    const auto checked = check_ranges(settings);
    return checked ? "" : checked.error().message;
}

TEST(CheckRanges, names_the_value_and_its_range) {
    EXPECT_EQ(error_of(good()), "");
    Settings s = good();
    s.width = 504;
    EXPECT_THAT(error_of(s), HasSubstr("width 504 is out of range: 512 to 1536 in steps of 8"));
    s.width = 1023;
    EXPECT_THAT(error_of(s), HasSubstr("width 1023"));
    s = good();
    s.height = 1544;
    EXPECT_THAT(error_of(s), HasSubstr("height 1544 is out of range"));
    s = good();
    s.steps = 7;
    EXPECT_THAT(error_of(s), HasSubstr("steps 7 is out of range: 8 to 50"));
    s = good();
    s.cfg = 15.5;
    EXPECT_THAT(error_of(s), HasSubstr("cfg 15.5 is out of range: 1 to 15"));
    s.cfg = std::numeric_limits<double>::quiet_NaN();
    EXPECT_THAT(error_of(s), HasSubstr("cfg"));
    s = good();
    s.batch = 0;
    EXPECT_THAT(error_of(s), HasSubstr("batch 0 is out of range: 1 to 64"));
}

TEST(ParseQuality, knows_four_words) {
    EXPECT_EQ(*parse_quality(" High "), Quality::High);
    EXPECT_EQ(quality_name(Quality::Ultra), "ultra");
    EXPECT_THAT(parse_quality("best").error().message, HasSubstr("draft, optimized, high, ultra"));
}

TEST(FindProfile, knows_names_and_files_and_names_the_nearest) {
    EXPECT_EQ(find_profile("sdxl-base", builtin_profiles())->prior_vram, Bytes(2'800'000'000));
    EXPECT_EQ(find_profile("sd_xl_base_1.0.safetensors", builtin_profiles())->name, "sdxl-base");
    EXPECT_EQ(find_profile("my_own.safetensors", builtin_profiles())->checkpoint,
              "my_own.safetensors");
    EXPECT_THAT(find_profile("sdxl-bas", builtin_profiles()).error().message,
                HasSubstr("sdxl-base"));
}

TEST(ExpectedQuality, rises_with_steps_and_falls_far_below_the_trained_size) {
    const ModelProfile profile = *find_profile("sdxl-base", builtin_profiles());
    Settings s = good();
    Quality before = Quality::Draft;
    for (int steps = kStepsMin; steps <= kStepsMax; ++steps) {
        s.steps = steps;
        EXPECT_GE(expected_quality(s, profile), before);
        before = expected_quality(s, profile);
    }
    EXPECT_EQ(before, Quality::Ultra);
    for (const Quality quality :
         {Quality::Draft, Quality::Optimized, Quality::High, Quality::Ultra}) {
        s.steps = steps_of(quality, profile);
        EXPECT_EQ(expected_quality(s, profile), quality);
    }
    s.width = s.height = 512;
    EXPECT_EQ(expected_quality(s, profile), Quality::Optimized);
}

TEST(BuildTextToImage, is_comfyuis_default_graph) {
    Settings s = good();
    s.seed = 18446744073709551615ULL;
    s.cfg = 7.5;
    s.batch = 2;
    const auto graph = workflow::parse_api_workflow(
        build_text_to_image(s, "sd_xl_base_1.0.safetensors", "a cat", "bad"));
    ASSERT_TRUE(graph.has_value()) << graph.error().message;
    EXPECT_TRUE(graph->faults.empty());
    const std::pair<const char*, const char*> nodes[] = {
        {"3", "KSampler"},       {"4", "CheckpointLoaderSimple"}, {"5", "EmptyLatentImage"},
        {"6", "CLIPTextEncode"}, {"7", "CLIPTextEncode"},         {"8", "VAEDecode"},
        {"9", "SaveImage"}};
    ASSERT_EQ(graph->nodes.size(), std::size(nodes));
    for (const auto& [id, class_type] : nodes) {
        ASSERT_NE(graph->find(id), nullptr) << id;
        EXPECT_EQ(graph->find(id)->class_type, class_type);
    }
    EXPECT_EQ(std::get<workflow::Number>(graph->find("3")->find("seed")->value).text,
              "18446744073709551615");
    EXPECT_EQ(graph->find("3")->number_of("cfg"), 7.5);
    EXPECT_EQ(graph->find("3")->link_of("positive")->node_id, "6");
    EXPECT_EQ(graph->find("3")->link_of("negative")->node_id, "7");
    EXPECT_EQ(graph->find("5")->int_of("batch_size"), 2);
    EXPECT_EQ(graph->find("6")->text_of("text"), "a cat");
    EXPECT_EQ(graph->find("8")->link_of("vae")->slot, 2);
    EXPECT_EQ(graph->find("9")->link_of("images")->node_id, "8");
}

TEST(BuildTextToImage, decodes_in_tiles_when_asked) {
    Settings s = good();
    s.vae_tiling = true;
    const auto graph =
        workflow::parse_api_workflow(build_text_to_image(s, "x.safetensors", "", ""));
    ASSERT_TRUE(graph.has_value());
    EXPECT_EQ(graph->find("8")->class_type, "VAEDecodeTiled");
    EXPECT_EQ(graph->find("8")->int_of("tile_size"), 512);
}

TEST(BuildTextToImage, survives_hostile_prompts) {
    const std::string hostile[] = {"\"}, \"evil\": {\"",
                                   "line\nbreak\ttab\\",
                                   std::string("nul\0byte", 8),
                                   "\xff\xfe\x80",
                                   "\xed\xa0\x80 half a surrogate",
                                   "\xc3",
                                   "\xF0\x9F\x90\x89 dragon",
                                   std::string(200'000, '"')};
    for (const std::string& prompt : hostile) {
        const auto graph = workflow::parse_api_workflow(
            build_text_to_image(good(), "x.safetensors", prompt, prompt));
        ASSERT_TRUE(graph.has_value()) << prompt.substr(0, 30) << ": " << graph.error().message;
        EXPECT_EQ(graph->nodes.size(), 7U);
    }
    const auto kept = workflow::parse_api_workflow(
        build_text_to_image(good(), "x", "\xF0\x9F\x90\x89 dragon", ""));
    EXPECT_EQ(kept->find("6")->text_of("text"), "\xF0\x9F\x90\x89 dragon");
}

}  // namespace
}  // namespace plimsoll::advisor
