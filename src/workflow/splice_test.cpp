// SPDX-License-Identifier: Apache-2.0
// Goal: an edit changes what it names and nothing else. Method: bytes compared around hand-made
// edits, and properties over random prompts and over real exports.
#include "workflow/splice.h"

#include "base/byte_source.h"
#include "workflow/parse.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>
#include <rapidcheck.h>
#include <rapidcheck/gtest.h>

#include <filesystem>
#include <map>

namespace plimsoll::workflow {
namespace {

using testing::HasSubstr;

constexpr std::string_view kPrompt =
    R"({ "3" :{"inputs": {"seed":18446744073709551615,  "cfg": 5.0,"steps":20, "text":"caf\u00e9",
      "model": ["4", 0], "unknown": {"k": [1,  2]}}, "extra":null, "class_type":"KSampler"},"8":{"class_type":"VAEDecode",
      "inputs":{"vae":["4",2]}}, "9": {"class_type": "Empty", "inputs": { }}, "10": {"class_type": "None"}}  )";

std::string edited(std::string_view source, const std::vector<Edit>& edits) {
    const Result<Graph> graph = parse_api_workflow(source);
    EXPECT_TRUE(graph) << graph.error().message;
    if (!graph) return "";
    Result<std::string> text = apply_edits(source, *graph, edits);
    EXPECT_TRUE(text) << text.error().message;
    if (!text) return "";
    const Result<Graph> again = parse_api_workflow(*text);
    EXPECT_TRUE(again) << again.error().message << "\n" << *text;
    return *text;
}

// The source with `from` (which must be there once) replaced by `to`.
std::string with(std::string_view source, std::string_view from, std::string_view to) {
    const std::size_t at = source.find(from);
    EXPECT_NE(at, std::string_view::npos);
    EXPECT_EQ(source.find(from, at + 1), std::string_view::npos);
    return std::string(source.substr(0, at)) + std::string(to) +
           std::string(source.substr(at + from.size()));
}

TEST(ApplyEdits, changes_one_value_and_no_other_byte) {
    EXPECT_EQ(edited(kPrompt, {}), kPrompt);
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "steps", std::int64_t{12}}}),
              with(kPrompt, "\"steps\":20", "\"steps\":12"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "text", std::string("a \"b\"\n\x01\xc3\xa9")}}),
              with(kPrompt, R"("caf\u00e9")", "\"a \\\"b\\\"\\n\\u0001\xc3\xa9\""));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "model", Link{"12", 3}}}),
              with(kPrompt, R"(["4", 0])", R"(["12", 3])"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "unknown", true}}),
              with(kPrompt, R"({"k": [1,  2]})", "true"));
}

TEST(ApplyEdits, keeps_the_style_of_numbers) {
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "cfg", std::int64_t{6}}}),
              with(kPrompt, "5.0", "6.0"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "cfg", 6.25}}), with(kPrompt, "5.0", "6.25"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "steps", 8.0}}), with(kPrompt, ":20,", ":8,"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "steps", 8.5}}), with(kPrompt, ":20,", ":8.5,"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "seed", std::int64_t{-1}}}),
              with(kPrompt, "18446744073709551615", "-1"));
}

TEST(ApplyEdits, edits_the_last_of_two_equal_keys_the_one_that_counts) {
    constexpr std::string_view kTwice =
        R"({"1":{"class_type":"A","inputs":{"x":1,"y":2,"x":3}},"1":{"inputs":{"x":4,"x":5},"class_type":"B"}})";
    EXPECT_EQ(edited(kTwice, {SetInput{"1", "x", std::int64_t{6}}}),
              with(kTwice, "\"x\":5", "\"x\":6"));
    EXPECT_EQ(edited(kTwice, {SetInput{"1", "z", std::int64_t{7}}}),
              with(kTwice, "\"x\":5", "\"x\":5,\"z\":7"));
}

TEST(ApplyEdits, leaves_a_value_alone_that_is_already_there) {
    EXPECT_EQ(
        edited(kPrompt, {SetInput{"3", "cfg", std::int64_t{5}}, SetInput{"3", "steps", 20.0},
                         SetInput{"3", "text", std::string("caf\xc3\xa9")},
                         SetInput{"3", "model", Link{"4", 0}}, SetClassType{"3", "KSampler"}}),
        kPrompt);
}

TEST(ApplyEdits, turns_a_decoder_into_a_tiled_one) {
    const std::string text = edited(kPrompt, {SetClassType{"8", "VAEDecodeTiled"},
                                              SetInput{"8", "tile_size", std::int64_t{512}},
                                              SetInput{"8", "overlap", std::int64_t{64}}});
    EXPECT_EQ(text, with(with(kPrompt, "\"VAEDecode\"", "\"VAEDecodeTiled\""), R"({"vae":["4",2]})",
                         R"({"vae":["4",2],"tile_size":512,"overlap":64})"));
}

TEST(ApplyEdits, adds_inputs_to_nodes_that_have_none) {
    EXPECT_EQ(edited(kPrompt, {SetInput{"9", "width", std::int64_t{64}}}),
              with(kPrompt, R"("inputs": { })", R"("inputs": {"width": 64 })"));
    EXPECT_EQ(edited(kPrompt, {SetInput{"10", "width", 0.5}}),
              with(kPrompt, R"("None")", R"("None", "inputs": {"width": 0.5})"));
}

TEST(ApplyEdits, adds_nodes_that_later_edits_may_name) {
    const std::string text =
        edited(kPrompt, {AddNode{"11", "LatentFromBatch", {{"samples", Link{"3", 0}}}, "Part"},
                         SetInput{"11", "length", std::int64_t{2}},
                         SetInput{"8", "samples", Link{"11", 0}}});
    const Result<Graph> graph = parse_api_workflow(text);
    ASSERT_TRUE(graph);
    EXPECT_EQ(graph->nodes.size(), 5U);
    EXPECT_EQ(graph->find("11")->title, "Part");
    EXPECT_EQ(graph->find("11")->int_of("length"), 2);
    EXPECT_EQ(*graph->find("8")->link_of("samples"), (Link{"11", 0}));
}

TEST(ApplyEdits, follows_the_indentation_of_its_surroundings) {
    constexpr std::string_view kIndented =
        "{\n  \"1\": {\n    \"inputs\": {\n      \"a\": 1\n    },\n    \"class_type\": \"A\"\n  "
        "}\n}";
    EXPECT_EQ(edited(kIndented, {SetInput{"1", "b", std::int64_t{2}}}),
              with(kIndented, "\"a\": 1", "\"a\": 1,\n      \"b\": 2"));
    EXPECT_THAT(edited(kIndented, {AddNode{"2", "B", {}, ""}}),
                HasSubstr("  },\n  \"2\": {\"inputs\": {}, \"class_type\": \"B\"}\n}"));
}

TEST(ApplyEdits, lets_the_later_of_two_edits_win) {
    EXPECT_EQ(edited(kPrompt, {SetInput{"3", "steps", std::int64_t{1}},
                               SetInput{"3", "steps", std::int64_t{2}}}),
              with(kPrompt, ":20,", ":2,"));
}

TEST(ApplyEdits, refuses_unknown_nodes_taken_ids_and_values_that_json_lacks) {
    const Result<Graph> graph = parse_api_workflow(kPrompt);
    ASSERT_TRUE(graph);
    const auto code = [&](const Edit& edit) {
        return apply_edits(kPrompt, *graph, {edit}).error().code;
    };
    EXPECT_EQ(code(SetInput{"77", "steps", std::int64_t{1}}), Errc::NotFound);
    EXPECT_EQ(code(SetClassType{"77", "A"}), Errc::NotFound);
    EXPECT_EQ(code(AddNode{"3", "A", {}, ""}), Errc::InvalidInput);
    EXPECT_EQ(code(SetInput{"3", "cfg", std::numeric_limits<double>::infinity()}),
              Errc::InvalidInput);
    EXPECT_EQ(code(SetInput{"3", "text", std::string("\xff")}), Errc::InvalidInput);
    EXPECT_EQ(code(SetInput{"3", "\xff", 1.0}), Errc::InvalidInput);
    EXPECT_EQ(code(SetInput{"3", "model", Link{"\xff", 0}}), Errc::InvalidInput);
    EXPECT_EQ(code(SetClassType{"3", "\xff"}), Errc::InvalidInput);
    EXPECT_EQ(code(AddNode{"\xff", "A", {}, ""}), Errc::InvalidInput);
    EXPECT_EQ(code(AddNode{"new", "A", {}, "\xff"}), Errc::InvalidInput);
    EXPECT_EQ(apply_edits("{}", *graph, {}).error().code, Errc::InvalidInput);
}

TEST(FreeNodeId, is_above_every_number_and_ignores_other_ids) {
    EXPECT_EQ(free_node_id(*parse_api_workflow(kPrompt)), "11");
    EXPECT_EQ(free_node_id(*parse_api_workflow(R"({"a:7":{"class_type":"A"}})")), "1");
}

// --- properties
// -------------------------------------------------------------------------------------------------------

std::string any_space() {
    return *rc::gen::element<std::string>("", "", " ", "\n", "\t ", "\r\n  ");
}

std::string any_value(int depth) {
    switch (*rc::gen::inRange(0, depth > 2 ? 7 : 9)) {
        case 0:
            return std::to_string(*rc::gen::arbitrary<std::int64_t>());
        case 1:
            return *rc::gen::element<std::string>("5.0", "18446744073709551615", "1e-3", "-0.0",
                                                  "NaN", "Infinity", "-Infinity");
        case 2:
            return fmt::format("{}", *rc::gen::arbitrary<double>());
        case 3:
            return *rc::gen::element<std::string>("true", "false", "null");
        case 4:
            return *rc::gen::element<std::string>(R"("")", R"("a\"\\\u00e9")", "\"\xc3\xa9 {[,\"",
                                                  R"("\ud83d\ude00")");
        case 5:
            return fmt::format("[{}\"{}\"{},{}{}]", any_space(), *rc::gen::inRange(0, 9),
                               any_space(), any_space(), *rc::gen::inRange(0, 3));
        case 6:
            return "[]";
        case 7:
            return fmt::format("[{}{},{}{}]", any_value(depth + 1), any_space(), any_space(),
                               any_value(depth + 1));
        default:
            return fmt::format("{{\"k\"{}:{}{}}}", any_space(), any_value(depth + 1), any_space());
    }
}

std::string any_prompt() {
    std::string text = any_space() + "{";
    const int nodes = *rc::gen::inRange(1, 6);
    for (int n = 0; n < nodes; ++n) {
        text += fmt::format("{}{}\"{}\"{}:{}{{", n == 0 ? "" : ",", any_space(), n, any_space(),
                            any_space());
        std::string inputs = fmt::format("\"inputs\"{}:{}{{", any_space(), any_space());
        const int count = *rc::gen::inRange(0, 5);
        for (int i = 0; i < count; ++i)
            inputs += fmt::format("{}{}\"in{}\"{}:{}{}{}", i == 0 ? "" : ",", any_space(), i,
                                  any_space(), any_space(), any_value(0), any_space());
        inputs += "}";
        const bool inputs_first = *rc::gen::arbitrary<bool>();
        const std::string class_type = fmt::format("\"class_type\":{}\"Class{}\"", any_space(), n);
        text += inputs_first
                    ? fmt::format("{},{}", inputs, class_type)
                    : fmt::format("{}{},{}{}", class_type, any_space(), any_space(), inputs);
        text += fmt::format("{}}}{}", any_space(), any_space());
    }
    return text + "}" + any_space();
}

RC_GTEST_PROP(ApplyEditsProperty, no_edit_and_every_same_value_leave_the_text_alone, ()) {
    const std::string source = any_prompt();
    const Result<Graph> graph = parse_api_workflow(source);
    RC_ASSERT(graph.has_value());
    std::vector<Edit> same;
    for (const Node& node : graph->nodes)
        for (const Input& input : node.inputs) {
            if (const auto* number = std::get_if<Number>(&input.value);
                number != nullptr && number->as_double())
                same.emplace_back(SetInput{node.id, input.name, *number->as_double()});
            if (const auto* text = std::get_if<std::string>(&input.value))
                same.emplace_back(SetInput{node.id, input.name, *text});
            if (const auto* link = std::get_if<Link>(&input.value))
                same.emplace_back(SetInput{node.id, input.name, *link});
        }
    RC_ASSERT(apply_edits(source, *graph, {}).value() == source);
    RC_ASSERT(apply_edits(source, *graph, same).value() == source);
}

RC_GTEST_PROP(ApplyEditsProperty, an_edit_reads_back_and_all_else_keeps_its_bytes, ()) {
    const std::string source = any_prompt();
    const Result<Graph> graph = parse_api_workflow(source);
    RC_ASSERT(graph.has_value());
    const Node& node = graph->nodes[*rc::gen::inRange<std::size_t>(0, graph->nodes.size())];
    const std::string name = fmt::format("in{}", *rc::gen::inRange(0, 6));  // there or not
    const auto value = *rc::gen::arbitrary<std::int64_t>();
    const Result<std::string> text = apply_edits(source, *graph, {SetInput{node.id, name, value}});
    RC_ASSERT(text.has_value());
    const Result<Graph> after = parse_api_workflow(*text);
    RC_ASSERT(after.has_value());
    const auto* number = std::get_if<Number>(&after->find(node.id)->find(name)->value);
    RC_ASSERT(number != nullptr);
    RC_ASSERT(number->text == std::to_string(value) ||
              number->text == std::to_string(value) + ".0" || number->as_int() == value);
    for (const Node& old : graph->nodes)
        for (const Input& input : old.inputs) {
            if (old.id == node.id && input.name == name) continue;
            const Span now = after->find(old.id)->find(input.name)->span;
            RC_ASSERT(text->substr(now.begin, now.end - now.begin) ==
                      source.substr(input.span.begin, input.span.end - input.span.begin));
        }
}

TEST(RealExports, survive_an_edit_of_each_value_alone) {
    int files = 0;
    for (const auto& file :
         std::filesystem::directory_iterator(std::string(PLIMSOLL_TEST_DATA) + "/workflow")) {
        if (!file.path().string().ends_with(".api.json")) continue;
        ++files;
        const std::string source = *read_text_file(file.path(), kWorkflowBytesMax);
        const Result<Graph> graph = parse_api_workflow(source);
        ASSERT_TRUE(graph) << file.path() << graph.error().message;
        EXPECT_EQ(*apply_edits(source, *graph, {}), source);
        for (const Node& node : graph->nodes)
            for (const Input& input : node.inputs) {
                const Result<std::string> text =
                    apply_edits(source, *graph, {SetInput{node.id, input.name, Link{"new", 7}}});
                ASSERT_TRUE(text);
                EXPECT_EQ(*text, source.substr(0, input.span.begin) + R"(["new", 7])" +
                                     source.substr(input.span.end));
            }
    }
    EXPECT_GE(files, 5);
}

TEST(RealExports, in_ui_format_are_told_apart) {
    for (const std::string_view name : {"sdxlturbo.ui.json", "sd15_bypassed_lora.ui.json"}) {
        const std::string source = *read_text_file(
            std::string(PLIMSOLL_TEST_DATA) + "/workflow/" + std::string(name), kWorkflowBytesMax);
        EXPECT_THAT(parse_api_workflow(source).error().message, HasSubstr("UI format"));
    }
}

}  // namespace
}  // namespace plimsoll::workflow
