// SPDX-License-Identifier: Apache-2.0
//
// From a drawn graph to its steps: golden cases as data (tests/data/lowering), public templates
// whose every node must be known, and graphs that mean harm.
#include "base/json.h"
#include "memory/simulate.h"
#include "workflow/node_catalogue.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>
#include <filesystem>
#include <fstream>
#include <set>
#include <sstream>

namespace plimsoll::memory {
namespace {

using testing::ElementsAreArray;
using testing::SizeIs;

const std::string kFolder = std::string(PLIMSOLL_TEST_DATA) + "/lowering";

std::string read_text(const std::filesystem::path& path) {
    std::ostringstream text;
    text << std::ifstream(path).rdbuf();
    return text.str();
}

std::string described(const Step& step, const SampleStep& what) {
    const LatentShape& l = what.latent;
    std::string text = fmt::format("{} sample {} x {} x {} x {} x {}", step.node_id, l.batch,
                                   l.channels, l.frames, l.height, l.width);
    if (!what.positive.empty() && !what.positive.front().references.empty())
        text += fmt::format(" references {}", what.positive.front().references.size());
    if (l.sound > 0) text += fmt::format(" sound {}", l.sound);
    if (l.kept > 0) text += fmt::format(" kept {}", l.kept);
    constexpr int kUsualSteps = 4;  // of the cases that are about something else
    if (what.steps != kUsualSteps) text += fmt::format(" steps {}", what.steps);
    const std::size_t conditions = what.positive.size() + what.negative.size();
    if (conditions > 2) text += fmt::format(" conditions {}", conditions);
    return text;
}

std::string described(const Step& step, const VaeStep& what) {
    const char* verb = what.direction == VaeDirection::Decode ? "decode" : "encode";
    if (what.sound_latents > 0)
        return fmt::format("{} {} sound {}", step.node_id, verb, what.sound_latents);
    return fmt::format("{} {} {} x {} x {}", step.node_id, verb, what.image.batch, what.image.width,
                       what.image.height);
}

std::string described(const Step& step, std::string_view verb, const ImageShape& image) {
    return fmt::format("{} {} {} x {} x {}", step.node_id, verb, image.batch, image.width,
                       image.height);
}

std::vector<std::string> described(const Program& program) {
    std::vector<std::string> steps;
    for (const Step& step : program.steps) {
        if (const auto* sample = std::get_if<SampleStep>(&step.what))
            steps.push_back(described(step, *sample));
        if (const auto* vae = std::get_if<VaeStep>(&step.what))
            steps.push_back(described(step, *vae));
        if (const auto* see = std::get_if<ImageEncodeStep>(&step.what))
            steps.push_back(described(step, "see", see->image));
        if (const auto* enlarge = std::get_if<UpscaleStep>(&step.what))
            steps.push_back(described(step, "enlarge", enlarge->image));
        if (const auto* enlarge = std::get_if<LatentUpscaleStep>(&step.what)) {
            const LatentShape& latent = enlarge->latent;
            steps.push_back(fmt::format("{} enlarge {} x {} x {} x {} x {}", step.node_id,
                                        latent.batch, latent.channels, latent.frames, latent.height,
                                        latent.width));
        }
    }
    return steps;
}

InputMedia media_of(const json::value& entry) {
    InputMedia media;
    if (const json::value* files = find(entry, "media"))
        for (const auto& [name, size] : files->get_object())
            media.by_name[name] = {.width = static_cast<int>(find_int(size, "width").value()),
                                   .height = static_cast<int>(find_int(size, "height").value())};
    return media;
}

std::vector<std::string> texts_of(const json::value& entry, std::string_view key) {
    std::vector<std::string> texts;
    for (const json::value& text : find(entry, key)->get_array())
        texts.emplace_back(text.get_string());
    return texts;
}

Program lower(const std::string& text, const InputMedia& media = {}) {
    const auto graph = workflow::parse_api_workflow(text);
    EXPECT_TRUE(graph) << text.substr(0, 200);
    return graph ? lower_graph(*graph, {}, media) : Program{};
}

TEST(LowerGraph, gives_the_steps_and_sizes_of_the_golden_cases) {
    const auto document = parse_json(read_text(kFolder + "/cases.json"));
    ASSERT_TRUE(document);
    const json::array& cases = find(*document, "cases")->get_array();
    EXPECT_GT(cases.size(), 10U);
    for (const json::value& entry : cases) {
        SCOPED_TRACE(find_string(entry, "name").value());
        const Program program = lower(json::serialize(*find(entry, "graph")), media_of(entry));
        EXPECT_THAT(described(program), ElementsAreArray(texts_of(entry, "steps")));
        EXPECT_THAT(messages_of(program.unknown_nodes),
                    ElementsAreArray(texts_of(entry, "unknown")));
    }
}

// Of the public templates at hand: all types known, and every unknown step is a network's.
TEST(LowerGraph, knows_every_node_of_the_public_templates) {
    int templates = 0;
    for (const auto& file : std::filesystem::directory_iterator(kFolder + "/templates")) {
        SCOPED_TRACE(file.path().filename().string());
        const auto graph = workflow::parse_api_workflow(read_text(file.path()));
        ASSERT_TRUE(graph);
        for (const workflow::Node& node : graph->nodes)
            EXPECT_NE(workflow::find_node_kind(node.class_type), nullptr) << node.class_type;
        for (const Step& step : lower_graph(*graph, {}).steps)
            if (const auto* unknown = std::get_if<UnknownStep>(&step.what))
                EXPECT_TRUE(unknown->reason.message().ends_with("is not forecast"))
                    << unknown->reason.message();
        ++templates;
    }
    EXPECT_GE(templates, 13);
}

TEST(LowerGraph, takes_a_usual_size_for_an_image_that_it_does_not_know_and_says_so) {
    const Program program = lower(
        R"({"1": {"class_type": "LoadImage", "inputs": {"image": "a.png"}},
            "2": {"class_type": "VAELoader", "inputs": {"vae_name": "v"}},
            "3": {"class_type": "VAEEncode", "inputs": {"pixels": ["1", 0], "vae": ["2", 0]}},
            "4": {"class_type": "SaveLatent", "inputs": {"samples": ["3", 0]}}})");
    EXPECT_THAT(described(program), testing::ElementsAre("3 encode 1 x 1024 x 1024"));
    EXPECT_THAT(messages_of(program.warnings),
                testing::ElementsAre("node 1 (LoadImage): the size of a.png is not known, assumed: "
                                     "1024 x 1024"));
}

TEST(LowerGraph, gives_every_step_of_a_node_a_signature_of_its_own) {
    const Program program = lower(read_text(kFolder + "/templates/video_humo.api.json"));
    std::set<std::uint64_t> signatures;
    for (const Step& step : program.steps)
        if (!std::holds_alternative<CpuStep>(step.what))
            EXPECT_TRUE(signatures.insert(step.signature).second) << step.node_id;
}

// --- graphs that mean harm ----------------------------------------------------------------------

TEST(LowerGraph, survives_switches_in_a_ring) {
    const Program program = lower(
        R"({"1": {"class_type": "ComfySwitchNode", "inputs": {"switch": true, "on_true": ["2", 0], "on_false": ["2", 0]}},
            "2": {"class_type": "ComfySwitchNode", "inputs": {"switch": ["1", 0], "on_true": ["1", 0], "on_false": ["1", 0]}},
            "3": {"class_type": "PreviewAny", "inputs": {"source": ["2", 0]}}})");
    EXPECT_THAT(program.unknown_nodes, SizeIs(3));
}

TEST(LowerGraph, refuses_a_latent_that_no_card_could_hold) {
    const Program program = lower(
        R"({"1": {"class_type": "EmptyChromaRadianceLatentImage", "inputs": {"width": 65536, "height": 65536, "batch_size": 9999}},
            "2": {"class_type": "VAELoader", "inputs": {"vae_name": "v"}},
            "3": {"class_type": "VAEDecode", "inputs": {"samples": ["1", 0], "vae": ["2", 0]}},
            "4": {"class_type": "SaveImage", "inputs": {"images": ["3", 0]}}})");
    EXPECT_THAT(messages_of(program.unknown_nodes),
                testing::ElementsAre("3 VAEDecode: the latent of node 1 is larger than any card"));
}

TEST(LowerGraph, tells_a_video_that_begins_with_an_image) {
    const Program program = lower(
        R"({"1": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "c"}},
            "2": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["1", 1]}},
            "3": {"class_type": "LoadImage", "inputs": {"image": "i"}},
            "4": {"class_type": "LTXVImgToVideo", "inputs": {"positive": ["2", 0], "negative": ["2", 0], "vae": ["1", 2], "image": ["3", 0], "width": 768, "height": 512, "length": 97, "batch_size": 1, "strength": 1}},
            "5": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["4", 0], "negative": ["4", 1], "latent_image": ["4", 2], "seed": 0, "steps": 4, "cfg": 3, "sampler_name": "euler", "scheduler": "normal", "denoise": 1}},
            "6": {"class_type": "SaveLatent", "inputs": {"samples": ["5", 0], "filename_prefix": "l"}}})");
    EXPECT_THAT(described(program), testing::Contains("5 sample 1 x 128 x 13 x 16 x 24 kept 1"));
}

double seconds_of(const std::string& text) {
    const auto graph = workflow::parse_api_workflow(text).value();
    const auto start = std::chrono::steady_clock::now();
    const Program program = lower_graph(graph, {});
    const std::chrono::duration<double> took = std::chrono::steady_clock::now() - start;
    EXPECT_FALSE(program.steps.empty());
    return took.count();
}

// `link`: a node of the chain, {0} its number and {1} the one before.
std::string chain(std::string_view first, std::string_view link) {
    constexpr int kNodes = 5000;
    std::string text = "{\"0\": " + std::string(first);
    for (int i = 1; i < kNodes; ++i)
        text += fmt::format(fmt::runtime(", \"{0}\": " + std::string(link)), i, i - 1);
    return text +
           fmt::format(
               R"(, "end": {{"class_type": "PreviewAny", "inputs": {{"source": ["{}", 0]}}}}}})",
               kNodes - 1);
}

// Every node reads the one before twice: what is copied along must not double. The target is 200 ms
// for 5,000 nodes; sanitizers and busy machines get more.
TEST(LowerGraph, takes_chains_of_5000_nodes_in_a_moment) {
    constexpr double kSecondsMax = 2.0;
    const std::string_view latent =
        R"({"class_type": "EmptyLatentImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}})";
    EXPECT_LT(
        seconds_of(chain(
            latent, R"({{"class_type": "My", "inputs": {{"a": ["{1}", 0], "b": ["{1}", 0]}}}})")),
        kSecondsMax);
    EXPECT_LT(
        seconds_of(chain(
            latent,
            R"({{"class_type": "LatentBatch", "inputs": {{"samples1": ["{1}", 0], "samples2": ["{1}", 0]}}}})")),
        kSecondsMax);
    EXPECT_LT(
        seconds_of(chain(
            R"({"class_type": "EmptyImage", "inputs": {"width": 64, "height": 64, "batch_size": 1}})",
            R"({{"class_type": "ResizeImageMaskNode", "inputs": {{"input": ["{1}", 0], "resize_type": "scale by multiplier", "resize_type.multiplier": 2}}}})")),
        kSecondsMax);
    EXPECT_LT(
        seconds_of(chain(
            R"({"class_type": "PrimitiveString", "inputs": {"value": "ab"}})",
            R"({{"class_type": "StringConcatenate", "inputs": {{"string_a": ["{1}", 0], "string_b": ["{1}", 0], "delimiter": ","}}}})")),
        kSecondsMax);
    EXPECT_LT(
        seconds_of(chain(
            R"({"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["c", 0]}}, "c": {"class_type": "CLIPLoader", "inputs": {"clip_name": "c"}})",
            R"({{"class_type": "ConditioningCombine", "inputs": {{"conditioning_1": ["{1}", 0], "conditioning_2": ["{1}", 0]}}}})")),
        kSecondsMax);
    // A text of 200 KB that every node hands on changed.
    EXPECT_LT(
        seconds_of(chain(
            R"({"class_type": "PrimitiveString", "inputs": {"value": ")" +
                std::string(200'000, 'x') + R"("}})",
            R"({{"class_type": "StringReplace", "inputs": {{"string": ["{1}", 0], "find": "x", "replace": "x"}}}})")),
        kSecondsMax);
}

}  // namespace
}  // namespace plimsoll::memory
