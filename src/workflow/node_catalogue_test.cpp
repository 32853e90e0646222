// SPDX-License-Identifier: Apache-2.0
//
// The catalogue as a whole: every expression in it can be read, and every core node type is there.
#include "workflow/node_catalogue.h"

#include "base/json.h"
#include "workflow/expression.h"

#include <gtest/gtest.h>

#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace plimsoll::workflow {
namespace {

// Names of the catalogue's five sections.
std::vector<std::string> all_names() {
    std::ostringstream text;
    text << std::ifstream(PLIMSOLL_TEST_DATA "/../../data/nodes.json").rdbuf();
    const json::value document = parse_json(text.str()).value();
    std::vector<std::string> names;
    const auto add = [&](const json::value& list) {
        for (const json::value& name : list.get_array()) names.emplace_back(name.get_string());
    };
    for (const auto& [name, entry] : find(document, "nodes")->get_object())
        names.emplace_back(name);
    for (const char* section : {"pass", "cloud"})
        for (const auto& [key, list] : find(document, section)->get_object()) add(list);
    for (const char* section : {"compute", "show"}) add(*find(document, section));
    return names;
}

// Every name stands for something: a text where the expression compares it with one.
void expect_readable(const std::string& text) {
    if (text.empty()) return;
    const bool number =
        evaluate_expression(text, [](std::string_view) { return Scalar(2.0); }).has_value();
    const bool words = evaluate_expression(text, [](std::string_view) {
                           return Scalar(std::string("{\"2\": 2}"));
                       }).has_value();
    const bool key = evaluate_expression(text, [](std::string_view name) {
                         return Scalar(std::string(name == "key" ? "2" : "{\"2\": 2}"));
                     }).has_value();
    EXPECT_TRUE(number || words || key) << text;
}

void expect_readable(const MadeShape& shape) {
    for (const std::string* text : {&shape.batch, &shape.channels, &shape.frames, &shape.height,
                                    &shape.width, &shape.sound, &shape.guides, &shape.kept})
        expect_readable(*text);
}

TEST(NodeCatalogue, holds_expressions_that_can_be_read) {
    for (const std::string& name : all_names()) {
        SCOPED_TRACE(name);
        const NodeKind* kind = find_node_kind(name);
        ASSERT_NE(kind, nullptr);
        for (const NodeOutput& output : kind->outputs) {
            expect_readable(output.value);
            expect_readable(output.shape);
        }
        for (const EncodeRule& rule : kind->encodes) {
            expect_readable(rule.when);
            expect_readable(rule.times);
            expect_readable(rule.shape);
        }
        for (const auto& [input, condition] : kind->lazy) expect_readable(condition);
        expect_readable(kind->cfg);
        expect_readable(kind->extra_forwards);
    }
}

// 887 types of ComfyUI 0.33.0 and those that only 0.3.64 has.
TEST(NodeCatalogue, holds_every_core_node_of_two_releases) {
    EXPECT_GE(all_names().size(), 921U);
    for (const char* name : {"WanVaceToVideo", "ComfyMathExpression", "SaveVideo", "LoadVideo",
                             "SplitSigmas", "IdeogramV1", "Load3DAnimation"})
        EXPECT_NE(find_node_kind(name), nullptr) << name;
}

}  // namespace
}  // namespace plimsoll::workflow
