// SPDX-License-Identifier: Apache-2.0
//
// Goal: each thing that a saved workflow may hold comes out as the front end sends it, and no file
// can do harm. Method: small graphs, made by hand.
#include "workflow/convert/convert.h"

#include "base/json.h"

#include <fmt/format.h>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <string>
#include <string_view>

namespace plimsoll::workflow {
namespace {

using testing::HasSubstr;

constexpr std::string_view kObjectInfo = R"json({
"Load": {"input": {"required": {"name": [["a", "b"], {}]}}, "output": ["MODEL", "CLIP"],
    "display_name": "Loader", "is_input_list": false},
"Patch": {"input": {"required": {"model": ["MODEL"], "strength": ["FLOAT", {"default": 1.0}]}},
    "output": ["MODEL"]},
"Text": {"input": {"required": {"text": ["STRING", {"dynamicPrompts": true}], "clip": ["CLIP"]}},
    "output": ["CONDITIONING"]},
"Sample": {"input": {"required": {"model": ["MODEL"],
    "seed": ["INT", {"default": 0, "control_after_generate": true}],
    "steps": ["INT", {"default": 20}]}}, "output": ["LATENT"]},
"Old": {"input": {"required": {"a": ["INT", {"default": 1}], "b": ["INT", {"forceInput": true}],
    "c": ["INT", {"default": 3}]}}, "output": []},
"Pick": {"input": {"required": {"mode": ["COMFY_DYNAMICCOMBO_V3", {"options": [
        {"key": "off", "inputs": {"required": {}}},
        {"key": "on", "inputs": {"required": {"level": ["FLOAT", {"default": 0.5}],
            "image": ["IMAGE"]}}}]}],
    "last": ["BOOLEAN", {"default": false}]}}, "output": ["LATENT"]},
"Tags": {"input": {"required": {"tags": ["COMBO", {"options": ["x", "y"], "multi_select": true}]}},
    "output": []},
"Save": {"input": {"required": {"latent": ["LATENT"]}}, "output": [], "output_node": true},
"SaveImage": {"input": {"required": {"filename_prefix": ["STRING", {"default": "x"}]}},
    "output": []}
})json";

class ConvertTest : public testing::Test {
  protected:
    [[nodiscard]] Result<ApiWorkflow> try_convert(const std::string& nodes,
                                                  const std::string& links = "",
                                                  const std::string& more = "") const {
        return convert_workflow(
            fmt::format(R"({{"nodes": [{}], "links": [{}]{}}})", nodes, links, more), info_,
            {.front_end = front_end_, .now = LocalTime{.year = 2026, .month = 3, .day = 4}});
    }
    [[nodiscard]] json::value convert(const std::string& nodes, const std::string& links = "",
                                      const std::string& more = "") const {
        const auto converted = try_convert(nodes, links, more);
        EXPECT_TRUE(converted.has_value()) << converted.error().message;
        return converted ? parse_json(converted->text).value() : json::value(json::object());
    }
    static json::value json_of(std::string_view text) { return parse_json(text).value(); }

    ObjectInfo info_ = ObjectInfo::parse(kObjectInfo).value();
    FrontEnd front_end_ = FrontEnd::V1_58;
};

constexpr const char* kLoad = R"({"id": 1, "type": "Load", "widgets_values": ["b"],
    "outputs": [{"type": "MODEL"}, {"type": "CLIP"}]})";

// A node with one input `model` at `link`.
std::string patch(int id, int link, int mode = 0) {
    return fmt::format(
        R"({{"id": {}, "type": "Patch", "mode": {}, "widgets_values": [0.5],
            "inputs": [{{"name": "model", "type": "MODEL", "link": {}}}],
            "outputs": [{{"type": "MODEL"}}]}})",
        id, mode, link);
}

std::string sampler(int id, int link) {
    return fmt::format(
        R"({{"id": {}, "type": "Sample", "widgets_values": [7, "randomize", 30],
            "inputs": [{{"name": "model", "type": "MODEL", "link": {}}}]}})",
        id, link);
}

TEST_F(ConvertTest, values_go_to_the_widgets_in_order_past_the_seeds_control) {
    const json::value api = convert(sampler(3, 9) + "," + kLoad, R"([9, 1, 0, 3, 0, "MODEL"])");
    EXPECT_EQ(api.at("3"), json_of(R"({"inputs": {"seed": 7, "steps": 30, "model": ["1", 0]},
        "class_type": "Sample", "_meta": {"title": "Sample"}})"));
    EXPECT_EQ(api.at("1").at("_meta").at("title"), "Loader");
}

TEST_F(ConvertTest, values_by_name_go_to_their_names) {
    const json::value api =
        convert(R"({"id": 3, "type": "Sample", "widgets_values": {"steps": 9, "seed": 1}})");
    EXPECT_EQ(api.at("3").at("inputs"), json_of(R"({"seed": 1, "steps": 9})"));
}

TEST_F(ConvertTest, a_value_that_the_file_lacks_is_the_default) {
    const json::value api = convert(R"({"id": 3, "type": "Sample", "widgets_values": [4]})");
    EXPECT_EQ(api.at("3").at("inputs"), json_of(R"({"seed": 4, "steps": 20})"));
}

TEST_F(ConvertTest, the_value_of_an_input_that_lost_its_widget_is_dropped) {
    const json::value api = convert(R"({"id": 1, "type": "Old", "widgets_values": [10, 20, 30]},
        {"id": 2, "type": "Old", "widgets_values": [10, 30]})");
    EXPECT_EQ(api.at("1").at("inputs"), json_of(R"({"a": 10, "c": 30})"));
    EXPECT_EQ(api.at("2").at("inputs"), json_of(R"({"a": 10, "c": 30})"));
}

TEST_F(ConvertTest, a_dynamic_combo_brings_the_inputs_of_its_choice) {
    const json::value api = convert(
        R"({"id": 1, "type": "Pick", "widgets_values": ["on", 0.25, true]},
           {"id": 2, "type": "Pick", "widgets_values": ["off", true],
            "inputs": [{"name": "mode.image", "type": "IMAGE", "link": 5}]},
           {"id": 3, "type": "Pick", "widgets_values": ["on", 0.5, false],
            "inputs": [{"name": "mode.image", "type": "IMAGE", "link": 6}]})",
        R"([5, 1, 0, 2, 0, "IMAGE"], [6, 1, 0, 3, 0, "IMAGE"])");
    EXPECT_EQ(api.at("1").at("inputs"),
              json_of(R"({"mode": "on", "mode.level": 0.25, "last": true})"));
    EXPECT_EQ(api.at("2").at("inputs"), json_of(R"({"mode": "off", "last": true})"));
    EXPECT_EQ(
        api.at("3").at("inputs"),
        json_of(R"({"mode": "on", "mode.level": 0.5, "last": false, "mode.image": ["1", 0]})"));
}

TEST_F(ConvertTest, a_list_is_wrapped_so_that_nobody_takes_it_for_a_link) {
    const json::value api = convert(R"({"id": 1, "type": "Tags", "widgets_values": [["x", "y"]]})");
    EXPECT_EQ(api.at("1").at("inputs"), json_of(R"({"tags": {"__value__": ["x", "y"]}})"));
}

TEST_F(ConvertTest, a_bypassed_node_hands_on_its_input_and_a_muted_one_nothing) {
    const std::string links = R"([1, 1, 0, 2, 0, "MODEL"], [2, 2, 0, 3, 0, "MODEL"])";
    const json::value bypassed =
        convert(std::string(kLoad) + "," + patch(2, 1, 4) + "," + sampler(3, 2), links);
    EXPECT_FALSE(bypassed.as_object().contains("2"));
    EXPECT_EQ(bypassed.at("3").at("inputs").at("model"), json_of(R"(["1", 0])"));
    const json::value muted =
        convert(std::string(kLoad) + "," + patch(2, 1, 2) + "," + sampler(3, 2), links);
    EXPECT_FALSE(muted.at("3").at("inputs").as_object().contains("model"));
}

TEST_F(ConvertTest, a_converted_widget_behind_a_muted_node_keeps_its_value_since_1_58) {
    const std::string nodes =
        R"({"id": 1, "type": "Sample", "mode": 2, "outputs": [{"type": "INT"}]},
           {"id": 2, "type": "Sample", "widgets_values": [7, "fixed", 30],
            "inputs": [{"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": 5}]})";
    const std::string links = R"([5, 1, 0, 2, 2, "INT"])";
    EXPECT_EQ(convert(nodes, links).at("2").at("inputs").at("steps"), 30);
    front_end_ = FrontEnd::V1_27;
    EXPECT_FALSE(convert(nodes, links).at("2").at("inputs").as_object().contains("steps"));
}

TEST_F(ConvertTest, reroutes_variables_and_notes_dissolve) {
    const json::value api =
        convert(std::string(kLoad) + R"(, {"id": 2, "type": "Reroute",
             "inputs": [{"name": "", "type": "*", "link": 1}], "outputs": [{"type": "MODEL"}]},
           {"id": 4, "type": "SetNode", "widgets_values": ["m"],
             "inputs": [{"name": "MODEL", "type": "MODEL", "link": 2}]},
           {"id": 5, "type": "GetNode", "widgets_values": ["m"], "outputs": [{"type": "MODEL"}]},
           {"id": 6, "type": "Note", "widgets_values": ["text"]},)" +
                    sampler(3, 3),
                R"([1, 1, 0, 2, 0, "*"], [2, 2, 0, 4, 0, "MODEL"], [3, 5, 0, 3, 0, "MODEL"])");
    EXPECT_EQ(api.as_object().size(), 2U);
    EXPECT_EQ(api.at("3").at("inputs").at("model"), json_of(R"(["1", 0])"));
}

TEST_F(ConvertTest, a_primitive_writes_its_value_into_the_widget_it_is_linked_to) {
    const json::value api =
        convert(R"({"id": 1, "type": "PrimitiveNode", "widgets_values": [12, "fixed"],
            "outputs": [{"type": "INT"}]},
           {"id": 3, "type": "Sample", "widgets_values": [7, "randomize", 30],
            "inputs": [{"name": "steps", "type": "INT", "widget": {"name": "steps"}, "link": 4}]})",
                R"([4, 1, 0, 3, 1, "INT"])");
    EXPECT_EQ(api.at("3").at("inputs"), json_of(R"({"seed": 7, "steps": 12})"));
}

// A subgraph with a sampler: model and steps come from outside.
std::string definition(std::string_view id, std::string_view nodes_more = "") {
    return fmt::format(R"({{"id": "{}", "name": "Inner",
        "inputs": [{{"name": "model", "type": "MODEL", "linkIds": [1]}},
                   {{"name": "steps", "type": "INT", "linkIds": [2]}}],
        "outputs": [{{"name": "LATENT", "type": "LATENT", "linkIds": [3]}}],
        "nodes": [{{"id": 30, "type": "Sample", "widgets_values": [7, "randomize", 30],
            "inputs": [{{"name": "model", "type": "MODEL", "link": 1}},
                {{"name": "steps", "type": "INT", "widget": {{"name": "steps"}}, "link": 2}}],
            "outputs": [{{"type": "LATENT", "links": [3]}}]}}{}],
        "links": [
            {{"id": 1, "origin_id": -10, "origin_slot": 0, "target_id": 30, "target_slot": 0}},
            {{"id": 2, "origin_id": -10, "origin_slot": 1, "target_id": 30, "target_slot": 1}},
            {{"id": 3, "origin_id": 30, "origin_slot": 0, "target_id": -20, "target_slot": 0}}]}})",
                       id, nodes_more);
}

std::string with_definitions(const std::string& definitions) {
    return fmt::format(R"(, "definitions": {{"subgraphs": [{}]}})", definitions);
}

std::string host(int id, std::string_view type, int mode = 0) {
    return fmt::format(R"({{"id": {}, "type": "{}", "mode": {}, "widgets_values": [15],
        "inputs": [{{"name": "model", "type": "MODEL", "link": 1}}],
        "outputs": [{{"type": "LATENT"}}]}})",
                       id, type, mode);
}

constexpr const char* kSave = R"({"id": 9, "type": "Save",
    "inputs": [{"name": "latent", "type": "LATENT", "link": 2}]})";
constexpr const char* kAround = R"([1, 1, 0, 5, 0, "MODEL"], [2, 5, 0, 9, 0, "LATENT"])";

TEST_F(ConvertTest, a_subgraph_unfolds_with_links_and_promoted_values_across_its_border) {
    const json::value api = convert(std::string(kLoad) + "," + host(5, "S") + "," + kSave, kAround,
                                    with_definitions(definition("S")));
    EXPECT_EQ(api.at("5:30").at("inputs"),
              json_of(R"({"seed": 7, "steps": 15, "model": ["1", 0]})"));
    EXPECT_EQ(api.at("9").at("inputs").at("latent"), json_of(R"(["5:30", 0])"));
    EXPECT_EQ(api.as_object().size(), 3U);
}

TEST_F(ConvertTest, a_proxied_widget_gets_an_input_and_its_value) {
    const std::string subgraph =
        R"({"id": "S", "name": "S", "inputs": [], "outputs": [], "links": [],
        "nodes": [{"id": 30, "type": "Sample", "widgets_values": [7, "randomize", 30]}]})";
    const json::value api =
        convert(R"({"id": 5, "type": "S", "widgets_values": [99, 11], "properties":
            {"proxyWidgets": [["30", "seed"], ["30", "steps"], ["31", "gone"]]}},
           {"id": 6, "type": "S", "widgets_values": []})",
                "", with_definitions(subgraph));
    EXPECT_EQ(api.at("5:30").at("inputs"), json_of(R"({"seed": 99, "steps": 11})"));
    EXPECT_EQ(api.at("6:30").at("inputs"), json_of(R"({"seed": 7, "steps": 30})"));
}

TEST_F(ConvertTest, a_bypassed_subgraph_is_left_out_since_1_58) {
    const std::string nodes = std::string(kLoad) + "," + host(5, "S", 4) + "," + kSave;
    EXPECT_FALSE(
        convert(nodes, kAround, with_definitions(definition("S"))).as_object().contains("5:30"));
    front_end_ = FrontEnd::V1_27;
    EXPECT_TRUE(
        convert(nodes, kAround, with_definitions(definition("S"))).as_object().contains("5:30"));
}

TEST_F(ConvertTest, an_id_that_is_taken_is_replaced_inside_a_subgraph_since_1_58) {
    const std::string nodes =
        R"({"id": 30, "type": "Load", "widgets_values": ["a"]},)" + host(5, "S") + "," + kSave;
    const std::string more = R"(, "last_node_id": 40)" + with_definitions(definition("S"));
    const json::value api = convert(nodes, kAround, more);
    EXPECT_EQ(api.at("9").at("inputs").at("latent"), json_of(R"(["5:41", 0])"));
    EXPECT_TRUE(api.as_object().contains("5:41"));
}

TEST_F(ConvertTest, texts_are_resolved_as_they_are_sent) {
    const json::value api = convert(
        R"({"id": 1, "type": "Text", "widgets_values": ["a {red|green} cat // no"]},
           {"id": 2, "type": "SaveImage", "widgets_values": ["%date:yyyy%/%Sample.steps%"]},
           {"id": 3, "type": "Sample", "widgets_values": [7, "fixed", 25]})");
    EXPECT_EQ(api.at("1").at("inputs").at("text"), "a red cat ");
    EXPECT_EQ(api.at("2").at("inputs").at("filename_prefix"), "2026/25");
}

TEST_F(ConvertTest, a_node_type_that_object_info_lacks_is_named_and_its_values_are_guessed) {
    const auto converted = try_convert(
        R"({"id": 1, "type": "Mystery", "widgets_values": [3, "fixed", "x"],
            "inputs": [{"name": "seed", "type": "INT", "widget": {"name": "seed"}},
                       {"name": "word", "type": "STRING", "widget": {"name": "word"}}],
            "outputs": [{"type": "LATENT"}]},
           {"id": 2, "type": "Label by somebody", "widgets_values": ["text"]})");
    ASSERT_TRUE(converted.has_value());
    ASSERT_EQ(converted->warnings.size(), 1U);
    EXPECT_THAT(converted->warnings.front(), HasSubstr("Mystery"));
    const json::value api = parse_json(converted->text).value();
    EXPECT_EQ(api.at("1").at("inputs"), json_of(R"({"seed": 3, "word": "x"})"));
    EXPECT_EQ(api.as_object().size(), 1U);
}

TEST_F(ConvertTest, dangling_links_and_circles_of_reroutes_lead_nowhere) {
    const json::value api = convert(sampler(3, 77) + R"(,
        {"id": 5, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 6}]},
        {"id": 6, "type": "Reroute", "inputs": [{"name": "", "type": "*", "link": 5}]},)" +
                                        sampler(4, 7),
                                    R"([5, 5, 0, 6, 0, "*"], [6, 6, 0, 5, 0, "*"],
                                       [7, 5, 0, 4, 0, "*"])");
    EXPECT_FALSE(api.at("3").at("inputs").as_object().contains("model"));
    EXPECT_FALSE(api.at("4").at("inputs").as_object().contains("model"));
}

TEST_F(ConvertTest, a_subgraph_that_contains_itself_is_refused) {
    const std::string loop = definition("S", R"(, {"id": 31, "type": "T"})") + "," +
                             R"({"id": "T", "name": "Middle", "nodes": [{"id": 1, "type": "S"}]})";
    const auto converted = try_convert(host(5, "S"), "", with_definitions(loop));
    ASSERT_FALSE(converted.has_value());
    EXPECT_EQ(converted.error().code, Errc::InvalidInput);
    EXPECT_THAT(converted.error().message, HasSubstr("contains itself"));
}

TEST_F(ConvertTest, subgraphs_that_double_themselves_stop_at_the_limit) {
    std::string definitions = R"({"id": "d0", "nodes": [{"id": 1, "type": "Load"}]})";
    for (int i = 1; i < 40; ++i)
        definitions += fmt::format(
            R"(, {{"id": "d{}", "nodes": [{{"id": 1, "type": "d{}"}}, {{"id": 2, "type": "d{}"}}]}})",
            i, i - 1, i - 1);
    const auto converted =
        try_convert(R"({"id": 1, "type": "d39"})", "", with_definitions(definitions));
    ASSERT_FALSE(converted.has_value());
    EXPECT_EQ(converted.error().code, Errc::LimitExceeded);
}

TEST_F(ConvertTest, fields_of_a_wrong_type_are_survived) {
    for (const char* const nodes :
         {R"({"id": {}, "type": 7, "mode": "x", "inputs": {}, "outputs": 3})",
          R"(null, 5, "x", [], {"id": 1, "type": "Load", "widgets_values": 3, "properties": []})",
          R"({"id": 1, "type": "Load", "inputs": [null, 4, {"name": 3, "link": "x"}],
              "widgets_values": [{"a": [1]}]})",
          R"({"id": 1, "type": "Pick", "widgets_values": [[], {}, null]})"}) {
        const auto converted = try_convert(
            nodes, R"(null, 4, [], [1], [1, 2, 3, 4], {"id": 1})",
            R"(, "definitions": {"subgraphs": [null, {"id": 3}, {"id": "S", "nodes": 4}]},
                            "extra": {"groupNodes": [1]}, "last_node_id": "x")");
        if (!converted) EXPECT_EQ(converted.error().code, Errc::InvalidInput);
    }
}

TEST_F(ConvertTest, what_is_no_workflow_in_ui_format_is_said_to_be_none) {
    EXPECT_EQ(convert_workflow("{", info_).error().code, Errc::Corrupt);
    EXPECT_THAT(convert_workflow(R"({"1": {"class_type": "A"}})", info_).error().message,
                HasSubstr("no list of nodes"));
    EXPECT_THAT(try_convert(R"({"id": 1, "type": "Note"})").error().message,
                HasSubstr("no node that would run"));
    EXPECT_EQ(ObjectInfo::parse("[]").error().code, Errc::InvalidInput);
    EXPECT_EQ(ObjectInfo::parse(R"({"a": 1})").error().code, Errc::InvalidInput);
}

TEST(IsUiWorkflow, tells_the_formats_apart_by_the_top_level) {
    EXPECT_TRUE(is_ui_workflow(R"({"nodes": [], "links": []})"));
    EXPECT_FALSE(is_ui_workflow(R"({"1": {"class_type": "nodes"}})"));
    EXPECT_FALSE(is_ui_workflow(R"({"prompt": {}, "extra": {"nodes": []}})"));
    EXPECT_FALSE(is_ui_workflow("nonsense"));
}

TEST(ObjectInfoTest, takes_what_python_writes_and_tells_the_front_end) {
    const auto info =
        ObjectInfo::parse(R"({"A": {"input": {"required": {"x": ["FLOAT", {"max": Infinity}]}}}})");
    ASSERT_TRUE(info.has_value());
    EXPECT_EQ(info->front_end(), FrontEnd::V1_27);
    EXPECT_EQ(ObjectInfo::parse(kObjectInfo)->front_end(), FrontEnd::V1_58);
}

}  // namespace
}  // namespace plimsoll::workflow
