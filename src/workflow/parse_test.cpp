// SPDX-License-Identifier: Apache-2.0
// Goal: a prompt is read as ComfyUI reads it, with the place of every value, or refused with a
// reason. Method: small prompts by hand, real exports, hostile text.
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <chrono>

namespace plimsoll::workflow {
namespace {

using testing::HasSubstr;
using testing::SizeIs;

constexpr std::string_view kPrompt = R"({
  "3": {"class_type": "KSampler", "inputs": {"seed": 18446744073709551615, "cfg": 5.0, "steps": 20, "denoise": NaN,
        "model": ["4", 0], "positive": ["6", 1], "add_noise": true, "options": {"a": [1, 2]}, "none": null,
        "name": "\u00e9\ud83d\ude00\n\"" }, "_meta": {"title": "Sampler"}},
  "4": {"inputs": {"ckpt_name": "a.safetensors", "pair": ["a", "b"]}, "class_type": "CheckpointLoaderSimple"},
  "6": {"inputs": {"clip": ["4", 1], "text": ""}, "class_type": "CLIPTextEncode"}
})";

TEST(ParseApiWorkflow, keeps_values_types_and_places) {
    const Result<Graph> graph = parse_api_workflow(kPrompt);
    ASSERT_TRUE(graph) << graph.error().message;
    ASSERT_THAT(graph->nodes, SizeIs(3));
    EXPECT_THAT(graph->faults, SizeIs(0));
    const Node* sampler = graph->find("3");
    ASSERT_NE(sampler, nullptr);
    EXPECT_EQ(sampler->class_type, "KSampler");
    EXPECT_EQ(sampler->title, "Sampler");
    const auto source_of = [&](std::string_view input) {
        const Span span = sampler->find(input)->span;
        return kPrompt.substr(span.begin, span.end - span.begin);
    };
    EXPECT_EQ(source_of("seed"), "18446744073709551615");
    EXPECT_EQ(std::get<Number>(sampler->find("seed")->value).text, "18446744073709551615");
    EXPECT_EQ(sampler->int_of("seed"), std::nullopt);  // beyond 63 bits
    EXPECT_EQ(source_of("cfg"), "5.0");
    EXPECT_EQ(sampler->number_of("cfg"), 5.0);
    EXPECT_EQ(sampler->int_of("cfg"), 5);
    EXPECT_EQ(source_of("denoise"), "NaN");
    EXPECT_EQ(sampler->number_of("denoise"), std::nullopt);
    EXPECT_EQ(source_of("model"), R"(["4", 0])");
    ASSERT_NE(sampler->link_of("positive"), nullptr);
    EXPECT_EQ(*sampler->link_of("positive"), (Link{"6", 1}));
    EXPECT_EQ(sampler->bool_of("add_noise"), true);
    EXPECT_EQ(source_of("options"), R"({"a": [1, 2]})");
    EXPECT_TRUE(std::holds_alternative<Raw>(sampler->find("options")->value));
    EXPECT_TRUE(std::holds_alternative<Raw>(sampler->find("none")->value));
    EXPECT_EQ(sampler->text_of("name"), "\u00e9\U0001F600\n\"");
    EXPECT_TRUE(std::holds_alternative<Raw>(graph->find("4")->find("pair")->value));
    EXPECT_EQ(kPrompt.substr(sampler->class_type_span.begin, 10), "\"KSampler\"");
    EXPECT_EQ(kPrompt[sampler->inputs_span.begin], '{');
    EXPECT_EQ(kPrompt[sampler->inputs_span.end - 1], '}');
}

TEST(ParseApiWorkflow, takes_the_prompt_out_of_a_request_body) {
    const std::string body =
        fmt::format(R"({{"client_id":"x","prompt":{},"extra_data":{{"extra_pnginfo":{{"workflow":
        {{"nodes":[]}}}}}}}})",
                    kPrompt);
    const Result<Graph> graph = parse_api_workflow(body);
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_THAT(graph->nodes, SizeIs(3));
    const Span span = graph->find("3")->find("steps")->span;
    EXPECT_EQ(body.substr(span.begin, span.end - span.begin), "20");
}

TEST(ParseApiWorkflow, takes_a_node_called_prompt_for_a_node) {
    const Result<Graph> graph = parse_api_workflow(
        R"({"prompt":{"class_type":"A","inputs":{}},"b":{"class_type":"B","inputs":{}}})");
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_THAT(graph->nodes, SizeIs(2));
}

TEST(ParseApiWorkflow, lets_the_last_of_two_equal_keys_win_as_python_does) {
    const Result<Graph> graph = parse_api_workflow(
        R"({"1":{"class_type":"A","inputs":{"x":1,"y":2,"x":3}},"2":{"class_type":"B"},"1":{"class_type":"C","inputs":{"z":1,"z":7}}})");
    ASSERT_TRUE(graph) << graph.error().message;
    ASSERT_THAT(graph->nodes, SizeIs(2));
    EXPECT_EQ(graph->nodes[0].class_type, "C");
    ASSERT_THAT(graph->nodes[0].inputs, SizeIs(1));
    EXPECT_EQ(graph->nodes[0].int_of("z"), 7);
}

TEST(ParseApiWorkflow, tells_dangling_links_and_cycles_without_failing) {
    const Result<Graph> graph = parse_api_workflow(
        R"({"1":{"class_type":"A","inputs":{"x":["2",0],"gone":["99",0]}},"2":{"class_type":"B","inputs":{"x":["1",0]}},
            "3":{"class_type":"C","inputs":{"self":["3",0]}}})");
    ASSERT_TRUE(graph) << graph.error().message;
    ASSERT_THAT(graph->faults, SizeIs(3));
    EXPECT_EQ(graph->faults[0].kind, GraphFault::Kind::DanglingLink);
    EXPECT_EQ(graph->faults[0].node_id, "1");
    EXPECT_EQ(graph->faults[0].input, "gone");
    EXPECT_EQ(graph->faults[1].kind, GraphFault::Kind::Cycle);
    EXPECT_EQ(graph->faults[1].node_id, "2");
    EXPECT_EQ(graph->faults[2].node_id, "3");
}

TEST(ParseApiWorkflow, says_what_to_do_with_the_ui_format) {
    const Result<Graph> graph = parse_api_workflow(
        R"({"last_node_id":9,"nodes":[{"id":1,"type":"KSampler"}],"links":[],"version":0.4})");
    ASSERT_FALSE(graph);
    EXPECT_EQ(graph.error().code, Errc::InvalidInput);
    EXPECT_THAT(graph.error().message, HasSubstr("UI format"));
    EXPECT_THAT(graph.error().message, HasSubstr("API"));
}

TEST(ParseApiWorkflow, refuses_text_that_python_refuses) {
    for (const std::string_view text : {"",
                                        "   ",
                                        "{",
                                        "{\"a\"",
                                        "{\"a\":}",
                                        "{\"a\":1,}",
                                        "{} x",
                                        "{\"a\":01}",
                                        "{\"a\":1.}",
                                        "{\"a\":.5}",
                                        "{\"a\":+1}",
                                        "{\"a\":1e}",
                                        "{\"a\":\"\x01\"}",
                                        "{\"a\":\"\\x\"}",
                                        "{\"a\":\"\\u12g4\"}",
                                        "{\"a\":nul}",
                                        "{'a':1}",
                                        "{\"a\":\"\xff\"}",
                                        "{\"a\":\"",
                                        "{\"a\":[1,]}",
                                        "{\"a\":--1}",
                                        "{\"a\":Nan}"}) {
        const Result<Graph> graph = parse_api_workflow(text);
        ASSERT_FALSE(graph) << text;
        EXPECT_TRUE(graph.error().code == Errc::Corrupt || graph.error().code == Errc::InvalidInput)
            << text;
    }
}

TEST(ParseApiWorkflow, refuses_what_is_json_but_no_prompt) {
    for (const std::string_view text :
         {"[]", "{}", "5", "{\"1\":5}", "{\"1\":{}}", "{\"1\":{\"class_type\":7}}",
          "{\"1\":{\"class_type\":\"A\",\"inputs\":[]}}", "{\"prompt\":{}}"}) {
        const Result<Graph> graph = parse_api_workflow(text);
        ASSERT_FALSE(graph) << text;
        EXPECT_EQ(graph.error().code, Errc::InvalidInput) << text;
    }
}

TEST(ParseApiWorkflow, refuses_nesting_10000_deep) {
    const std::string deep = R"({"1":{"class_type":"A","inputs":{"x":)" + std::string(10'000, '[') +
                             std::string(10'000, ']') + "}}}";
    const Result<Graph> graph = parse_api_workflow(deep);
    ASSERT_FALSE(graph);
    EXPECT_EQ(graph.error().code, Errc::LimitExceeded);
}

TEST(ParseApiWorkflow, takes_a_byte_order_mark_and_links_with_fractional_slots) {
    const Result<Graph> graph = parse_api_workflow(
        "\xEF\xBB\xBF"
        R"({"1":{"class_type":"A","inputs":{"x":["2",0.0]}},"2":{"class_type":"B"}})");
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_EQ(*graph->find("1")->link_of("x"), (Link{"2", 0}));
}

TEST(ParseApiWorkflow, lets_the_last_class_type_count_even_when_it_is_none) {
    EXPECT_EQ(
        parse_api_workflow(R"({"1":{"class_type":"A","class_type":"B"}})")->nodes[0].class_type,
        "B");
    EXPECT_FALSE(parse_api_workflow(R"({"1":{"class_type":"A","class_type":5}})"));
}

TEST(ParseApiWorkflow, refuses_more_inputs_than_the_limit) {
    std::string inputs;
    for (std::size_t i = 0; i <= kInputsMax; ++i)
        inputs += fmt::format(R"({}"{}":1)", i == 0 ? "" : ",", i % 1000);
    const Result<Graph> graph =
        parse_api_workflow(fmt::format(R"({{"1":{{"class_type":"A","inputs":{{{}}}}}}})", inputs));
    ASSERT_FALSE(graph);
    EXPECT_EQ(graph.error().code, Errc::LimitExceeded);
}

TEST(ParseApiWorkflow, lists_only_so_many_faults) {
    std::string inputs;
    for (std::size_t i = 0; i < kFaultsMax + 100; ++i)
        inputs += fmt::format(R"({}"{}":["gone",0])", i == 0 ? "" : ",", i);
    const Result<Graph> graph =
        parse_api_workflow(fmt::format(R"({{"1":{{"class_type":"A","inputs":{{{}}}}}}})", inputs));
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_THAT(graph->faults, SizeIs(kFaultsMax));
}

TEST(ParseApiWorkflow, replaces_lone_surrogates) {
    const Result<Graph> graph = parse_api_workflow(
        R"({"1":{"class_type":"A","inputs":{"a":"\ud800","b":"\udc00x","c":"\ud800\u0041"}}})");
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_EQ(graph->nodes[0].text_of("a"), "\uFFFD");
    EXPECT_EQ(graph->nodes[0].text_of("b"), "\uFFFDx");
    EXPECT_EQ(graph->nodes[0].text_of("c"), "\uFFFDA");
}

TEST(ParseApiWorkflow, reads_5000_nodes_in_a_long_chain) {
    std::string text = "{";
    for (int i = 0; i < 5000; ++i)
        text += fmt::format(
            R"({}"{}":{{"class_type":"ImageScale","inputs":{{"image":["{}",0],"width":512,"height":512}}}})",
            i == 0 ? "" : ",", i, i + 1);
    const auto begin = std::chrono::steady_clock::now();
    const Result<Graph> graph = parse_api_workflow(text + "}");
    RecordProperty("parse_ms", std::to_string(std::chrono::duration<double, std::milli>(
                                                  std::chrono::steady_clock::now() - begin)
                                                  .count()));
    ASSERT_TRUE(graph) << graph.error().message;
    EXPECT_THAT(graph->nodes, SizeIs(5000));
    EXPECT_THAT(graph->faults, SizeIs(1));  // the last node's link
}

TEST(Number, knows_integers_in_every_spelling) {
    EXPECT_EQ((Number{"5.0"}.as_int()), 5);
    EXPECT_EQ((Number{"1e3"}.as_int()), 1000);
    EXPECT_EQ((Number{"-0"}.as_int()), 0);
    EXPECT_EQ((Number{"5.5"}.as_int()), std::nullopt);
    EXPECT_EQ((Number{"9223372036854775807"}.as_int()), INT64_MAX);
    EXPECT_EQ((Number{"9223372036854775808"}.as_int()), std::nullopt);
    EXPECT_EQ((Number{"1e999"}.as_double()), std::nullopt);
    EXPECT_EQ((Number{"-Infinity"}.as_double()), std::nullopt);
    EXPECT_EQ((Number{"18446744073709551615"}.as_double()), 18446744073709551615.0);
}

}  // namespace
}  // namespace plimsoll::workflow
