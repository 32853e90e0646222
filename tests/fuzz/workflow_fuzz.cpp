// SPDX-License-Identifier: Apache-2.0
// A workflow from any bytes: spans lie in the text, no edit leaves it alone, and an edited text
// parses again.
#include "base/check.h"
#include "workflow/parse.h"
#include "workflow/splice.h"

#include <cstddef>
#include <cstdint>
#include <string_view>

namespace {

using namespace plimsoll::workflow;  // NOLINT(google-build-using-namespace): a program of one
                                     // function

void check_edits(std::string_view source, const Graph& graph) {
    CHECK(apply_edits(source, graph, {}) == source);
    const Node& first = graph.nodes.front();
    std::vector<Edit> edits = {SetClassType{first.id, "Other"},
                               SetInput{first.id, "added by the fuzzer", 0.5},
                               AddNode{"added by the fuzzer", "New", {{"a", true}}, "title"}};
    if (!first.inputs.empty())
        edits.emplace_back(SetInput{first.id, first.inputs.front().name, std::int64_t{7}});
    const auto text = apply_edits(source, graph, edits);
    if (!text) return;  // a node of that name is there already
    const auto again = parse_api_workflow(*text);
    CHECK(again.has_value());
    CHECK(again->nodes.size() == graph.nodes.size() + 1);
    CHECK(again->find(first.id)->class_type == "Other");
    CHECK(again->find(first.id)->number_of("added by the fuzzer") == 0.5);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size) {
    const std::string_view source(reinterpret_cast<const char*>(data), size);
    const auto graph = parse_api_workflow(source);
    if (!graph) {
        CHECK(!graph.error().message.empty());
        return 0;
    }
    CHECK(!graph->nodes.empty());
    CHECK(graph->span.begin < graph->span.end && graph->span.end <= size);
    for (const Node& node : graph->nodes) {
        CHECK(node.span.begin < node.span.end && node.span.end <= graph->span.end);
        for (const Input& input : node.inputs)
            CHECK(input.span.begin < input.span.end && input.span.end <= node.span.end);
    }
    check_edits(source, *graph);
    return 0;
}
