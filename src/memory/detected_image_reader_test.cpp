// SPDX-License-Identifier: Apache-2.0
//
// Networks that look at images, from the names of files and from files of them.
#include "memory/detected_fixture.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/simulate.h"
#include "modelfile/architectures.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <string>
#include <vector>

namespace plimsoll::memory {
namespace {

using modelfile::NamedFile;

std::shared_ptr<const modelfile::Contents> named(const std::string& name, const char* folder) {
    const auto file = modelfile::guess_file(name, folder);
    EXPECT_TRUE(file) << name;
    if (!file) return nullptr;
    const auto contents = known_file(*file, false);
    EXPECT_TRUE(contents) << name;
    return contents ? *contents : nullptr;
}

// Goal: the networks that names stand for are the published ones. Method: parameters against those
// that their authors state (BiRefNet's paper: 221 M, Swin-L's backbone in it 195 M; MoGe's README:
// 326 M and 331 M; Depth Anything 3's: 0.35 B; RT-DETRv4-X: 62 M).
TEST(ImageReaders, have_the_parameters_that_their_authors_state) {
    const auto params = [](const std::string& name, const char* folder) {
        const auto contents = named(name, folder);
        return contents == nullptr
                   ? 0.0
                   : static_cast<double>(contents->image_reader->weights.params) / 1e6;
    };
    EXPECT_NEAR(params("birefnet.safetensors", "background_removal"), 221, 1);
    EXPECT_NEAR(params("moge_2_vitl_fp16.safetensors", "geometry_estimation"), 326, 1);
    EXPECT_NEAR(params("moge_2_vitl_normal_fp16.safetensors", "geometry_estimation"), 331, 1);
    EXPECT_NEAR(params("depth_anything_3_mono_large.safetensors", "geometry_estimation"), 350, 17);
    EXPECT_NEAR(params("rt_detr_v4-x-hgnet_fp16.safetensors", "diffusion_models"), 62, 2);
}

// SAM 3's authors count 848 M with its encoder of texts (README), of which the vision transformer
// has 446 M and the encoder 354 M (paper).
TEST(ImageReaders, sam_3_has_the_parameters_that_its_authors_state) {
    const auto contents = named("sam3.safetensors", "checkpoints");
    ASSERT_NE(contents, nullptr);
    ASSERT_EQ(contents->text_encoders.size(), 1U);
    const std::int64_t text = contents->text_encoders.front().weights.params;
    const std::int64_t all = contents->image_reader->weights.params + text;
    EXPECT_NEAR(static_cast<double>(all) / 1e6, 848, 14);
    EXPECT_NEAR(static_cast<double>(text) / 1e6, 353.7, 1);
}

Walk look(const char* name, ReaderCall call) {
    const auto config = modelfile::known_image_reader(name);
    EXPECT_TRUE(config);
    const auto network = build_image_reader(*config);
    EXPECT_TRUE(network);
    return simulate_reading(**network, call);
}

// Goal: BiRefNet's peak is where the mask is made. Method: by hand: the joined map of 240 channels
// at 1024 x 1024 in fp32, the 192 and the 48 that it is made of, and what stays beside them.
TEST(ImageReaders, birefnet_is_at_its_height_where_the_largest_maps_are_joined) {
    const Walk walk = look("birefnet", {.height = 1024, .width = 1024});
    constexpr std::int64_t kMap = 1024LL * 1024 * 4;
    EXPECT_GE(walk.peak.count, (240 + 192 + 48) * kMap);
    EXPECT_LE(walk.peak.count, 2 * (240 + 192 + 48) * kMap);
    EXPECT_EQ(walk.peak_op, "cat");
    // A larger picture is brought to the same square; it only waits longer in its own size.
    const Walk larger = look("birefnet", {.height = 2048, .width = 2048});
    EXPECT_EQ(larger.costs[OpClass::Convolution].flops, walk.costs[OpClass::Convolution].flops);
}

TEST(ImageReaders, depth_anything_3_grows_with_the_side_that_the_node_asks_for) {
    const ReaderCall usual{.height = 1080,
                           .width = 1920,
                           .side = 504,
                           .storage = ComputeType::Float16,
                           .compute = ComputeType::Float16};
    ReaderCall twice = usual;
    twice.side = 1008;
    const Walk small = look("depth_anything_3_large", usual);
    const Walk large = look("depth_anything_3_large", twice);
    const double ratio =
        static_cast<double>(large.peak.count) / static_cast<double>(small.peak.count);
    EXPECT_GT(ratio, 2.5);
    EXPECT_LT(ratio, 4.5);
}

TEST(ImageReaders, moge_sees_as_many_patches_as_its_detail_says) {
    const Walk few = look("moge_2_vitl_normal", {.height = 768, .width = 1024, .detail = 0});
    const Walk many = look("moge_2_vitl_normal", {.height = 768, .width = 1024, .detail = 1});
    // 1200 and 3600 tokens: three times the products of the backbone and of the stacks.
    const double ratio = static_cast<double>(many.costs[OpClass::MatMul].flops) /
                         static_cast<double>(few.costs[OpClass::MatMul].flops);
    EXPECT_NEAR(ratio, 3, 0.1);
    EXPECT_GT(many.peak, few.peak);
}

TEST(ImageReaders, rt_detr_takes_thirty_two_images_at_once) {
    const ReaderCall one{.storage = ComputeType::Float16, .compute = ComputeType::Float16};
    ReaderCall many = one;
    many.batch = 100;
    const Walk single = look("rt_detr_v4_x", one);
    const Walk full = look("rt_detr_v4_x", many);
    const double ratio =
        static_cast<double>(full.peak.count) / static_cast<double>(single.peak.count);
    EXPECT_NEAR(ratio, 32, 1);
}

constexpr ReaderCall kSam3{.height = 720,
                           .width = 1280,
                           .refinements = 2,
                           .storage = ComputeType::Float16,
                           .compute = ComputeType::Float16};

// Goal: SAM 3 computes what its paper's numbers say. Method: the products of its vision transformer
// by hand, 32 blocks of 72 x 72 tokens, thrice: once to find, twice for closer looks.
TEST(ImageReaders, sam_3_sees_an_image_anew_for_every_closer_look) {
    constexpr double kTokens = 72.0 * 72;
    constexpr double kOfBlock = 4.0 * 1024 * 1024 + 2.0 * 1024 * 4736;
    constexpr double kLook = 2 * 32 * kTokens * kOfBlock;
    const auto products = [](int refinements) {
        ReaderCall call = kSam3;
        call.refinements = refinements;
        return static_cast<double>(look("sam3.1", call).costs[OpClass::MatMul].flops);
    };
    EXPECT_NEAR((products(2) - products(0)) / (2 * kLook), 1, 0.02);
    EXPECT_GT(products(0), kLook);
    EXPECT_LT(products(0), 1.1 * kLook);
}

// Goal: of a large image the masks of all queries are what fills the card. Method: by hand: 200 in
// fp16 in the size of the image, once for a single image and twice for several.
TEST(ImageReaders, sam_3_keeps_the_masks_of_all_queries_in_the_size_of_the_image) {
    ReaderCall large = kSam3;
    large.height = 2160;
    large.width = 3840;
    constexpr std::int64_t kMasks = 200LL * 2160 * 3840 * 2;
    constexpr std::int64_t kRest = 600 << 20;  // maps, positions, what is left of the finding
    const Walk one = look("sam3.1", large);
    EXPECT_GT(one.peak.count, kMasks);
    EXPECT_LT(one.peak.count, kMasks + kRest);
    large.batch = 2;
    const Walk two = look("sam3.1", large);
    EXPECT_GT(two.peak.count, 2 * kMasks);
    EXPECT_LT(two.peak.count, 2 * kMasks + kRest);
    large.has_text = false;
    EXPECT_LT(look("sam3.1", large).peak.count, kMasks / 2) << "boxes say where to cut";
}

TEST(ImageReaders, refuse_numbers_that_contradict_each_other) {
    modelfile::BiRefNetConfig stages;
    stages.depths = {2, 2};
    EXPECT_FALSE(build_image_reader(stages));
    modelfile::DepthAnything3Config layers;
    layers.out_layers = {4, 11, 17, 24};
    EXPECT_FALSE(build_image_reader(layers));
    EXPECT_FALSE(build_image_reader(modelfile::MogeConfig{}));
    modelfile::Sam3Config heads;
    heads.hidden = 1000;
    EXPECT_FALSE(build_image_reader(heads));
}

Forecast forecast_of(const char* graph, ModelFiles files) {
    const auto parsed = workflow::parse_api_workflow(graph);
    EXPECT_TRUE(parsed);
    Device device;
    device.total = Bytes::from_mib(12288);
    InputMedia media;
    media.by_name["a.png"] = {.width = 1024, .height = 1024};
    const Program program = lower_graph(*parsed, build_models(files), media);
    return simulate_program(program, Server{}, device);
}

TEST(ImageReaders, a_background_is_removed_within_a_forecast) {
    ModelFiles files;
    files.by_name["birefnet.safetensors"] = named("birefnet.safetensors", "background_removal");
    const Forecast forecast = forecast_of(R"({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "LoadBackgroundRemovalModel", "inputs": {"bg_removal_name": "birefnet.safetensors"}},
        "3": {"class_type": "RemoveBackground", "inputs": {"bg_removal_model": ["2", 0], "image": ["1", 0]}},
        "4": {"class_type": "MaskPreview", "inputs": {"mask": ["3", 0]}}})",
                                          files);
    EXPECT_EQ(forecast.verdict, Verdict::Fits);
    ASSERT_FALSE(forecast.phases.empty());
    EXPECT_EQ(forecast.phases.back().class_type, "RemoveBackground");
    EXPECT_GT(forecast.phases.back().activations, Bytes::from_mib(1900));
    EXPECT_FALSE(forecast.bound);
}

// Goal: a checkpoint of SAM 3 brings both networks. Method: a graph that finds what a text names in
// an image, on a card of 12 GiB.
TEST(ImageReaders, what_a_text_names_is_found_within_a_forecast) {
    ModelFiles files;
    files.by_name["sam3.1_multiplex_fp16.safetensors"] =
        named("sam3.1_multiplex_fp16.safetensors", "checkpoints");
    const Forecast forecast = forecast_of(R"({
        "1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
        "2": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "sam3.1_multiplex_fp16.safetensors"}},
        "3": {"class_type": "CLIPTextEncode", "inputs": {"text": "unicorn", "clip": ["2", 1]}},
        "4": {"class_type": "SAM3_Detect", "inputs": {"threshold": 0.5, "refine_iterations": 2, "individual_masks": false,
              "model": ["2", 0], "image": ["1", 0], "conditioning": ["3", 0]}},
        "5": {"class_type": "MaskPreview", "inputs": {"mask": ["4", 0]}}})",
                                          files);
    EXPECT_EQ(forecast.verdict, Verdict::Fits);
    EXPECT_FALSE(forecast.bound);
    ASSERT_GE(forecast.phases.size(), 2U);
    EXPECT_EQ(forecast.phases.back().class_type, "SAM3_Detect");
    EXPECT_GT(forecast.phases.back().activations, Bytes::from_mib(600));
}

}  // namespace
}  // namespace plimsoll::memory
