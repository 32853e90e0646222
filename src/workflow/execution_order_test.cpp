// SPDX-License-Identifier: Apache-2.0
#include "workflow/execution_order.h"

#include "workflow/node_catalogue.h"
#include "workflow/parse.h"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

namespace plimsoll::workflow {
namespace {

using testing::ElementsAre;
using testing::IsEmpty;

std::vector<std::string> ids(const Graph& graph, const std::vector<std::uint32_t>& nodes) {
    std::vector<std::string> ids;
    ids.reserve(nodes.size());
    for (const std::uint32_t node : nodes) ids.push_back(graph.nodes[node].id);
    return ids;
}

bool is_save(const Node& node) {
    return node.class_type == "SaveImage";
}

// ComfyUI's default graph; its order was recorded from a real server.
constexpr std::string_view kDefault = R"({
  "3": {"class_type": "KSampler", "inputs": {"model": ["4", 0], "positive": ["6", 0],
        "negative": ["7", 0], "latent_image": ["5", 0]}},
  "4": {"class_type": "CheckpointLoaderSimple", "inputs": {"ckpt_name": "a.safetensors"}},
  "5": {"class_type": "EmptyLatentImage", "inputs": {"width": 512, "height": 512}},
  "6": {"class_type": "CLIPTextEncode", "inputs": {"text": "a", "clip": ["4", 1]}},
  "7": {"class_type": "CLIPTextEncode", "inputs": {"text": "b", "clip": ["4", 1]}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["3", 0], "vae": ["4", 2]}},
  "9": {"class_type": "SaveImage", "inputs": {"images": ["8", 0]}}})";

TEST(ExecutionOrder, of_the_default_graph_is_the_recorded_one) {
    const Graph graph = parse_api_workflow(kDefault).value();
    const ExecutionOrder order = execution_order(graph, is_save);
    EXPECT_THAT(ids(graph, order.nodes), ElementsAre("4", "5", "7", "6", "3", "8", "9"));
    EXPECT_THAT(order.unreachable, IsEmpty());
}

TEST(ExecutionOrder, leaves_out_what_no_output_needs) {
    const Graph graph = parse_api_workflow(R"({
      "1": {"class_type": "EmptyImage", "inputs": {}},
      "2": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
      "3": {"class_type": "EmptyImage", "inputs": {}}})")
                            .value();
    EXPECT_THAT(ids(graph, execution_order(graph, is_save).nodes), ElementsAre("1", "2"));
}

TEST(ExecutionOrder, tells_what_a_cycle_keeps_from_running_and_runs_the_rest) {
    const Graph graph = parse_api_workflow(R"({
      "1": {"class_type": "ImageInvert", "inputs": {"image": ["2", 0]}},
      "2": {"class_type": "ImageInvert", "inputs": {"image": ["1", 0]}},
      "3": {"class_type": "SaveImage", "inputs": {"images": ["2", 0]}},
      "4": {"class_type": "EmptyImage", "inputs": {}},
      "5": {"class_type": "SaveImage", "inputs": {"images": ["4", 0]}}})")
                            .value();
    const ExecutionOrder order = execution_order(graph, is_save);
    EXPECT_THAT(ids(graph, order.nodes), ElementsAre("4", "5"));
    EXPECT_THAT(ids(graph, order.unreachable), ElementsAre("3", "2", "1"));
}

TEST(ExecutionOrder, survives_a_node_that_reads_itself_and_links_to_nowhere) {
    const Graph graph = parse_api_workflow(R"({
      "1": {"class_type": "SaveImage", "inputs": {"images": ["1", 0]}},
      "2": {"class_type": "SaveImage", "inputs": {"images": ["99", 0]}}})")
                            .value();
    const ExecutionOrder order = execution_order(graph, is_save);
    EXPECT_THAT(ids(graph, order.nodes), ElementsAre("2"));
    EXPECT_THAT(ids(graph, order.unreachable), ElementsAre("1"));
}

TEST(NodeCatalogue, knows_what_nodes_do_and_says_so_when_it_does_not) {
    const NodeKind* sampler = find_node_kind("KSamplerAdvanced");
    ASSERT_NE(sampler, nullptr);
    EXPECT_EQ(sampler->verb, NodeVerb::Sample);
    EXPECT_EQ(sampler->input_of("first_step"), "start_at_step");
    EXPECT_EQ(sampler->input_of("model"), "model");
    EXPECT_TRUE(find_node_kind("SaveImage")->output_node);
    EXPECT_TRUE(find_node_kind("VAEDecodeTiled")->tiled);
    EXPECT_EQ(find_node_kind("MyCustomNode"), nullptr);
}

}  // namespace
}  // namespace plimsoll::workflow
