// SPDX-License-Identifier: Apache-2.0
#include "workflow/parse.h"

#include "base/say.h"
#include "base/text.h"
#include "workflow/json_scanner.h"

#include <fmt/format.h>
#include <simdjson.h>

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <map>
#include <string>
#include <unordered_map>
#include <utility>
#include <vector>

namespace plimsoll::workflow {
namespace {

// What the top level shows before its nodes are read: where the prompt is, and whether this is a
// prompt at all.
struct TopLevel {
    std::optional<std::size_t>
        prompt_at;              // position of the value of "prompt", where it may be a body's
    bool has_ui_nodes = false;  // "nodes" is a list, as in the UI format
};

std::string shown(std::string_view text) {
    constexpr std::size_t kShownMax = 60;
    std::string out = "\"";
    for (const char c : text.substr(0, kShownMax)) out += c >= 0x20 && c < 0x7f ? c : '?';
    return out + (text.size() > kShownMax ? "...\"" : "\"");
}

// Where the value at the cursor is [text, number], the link; anything else is Raw. Moves behind the
// value either way.
Result<std::variant<Link, Number, std::string, bool, Raw>> scan_list(JsonScanner& scanner) {
    Link link;
    bool is_link = true;
    std::size_t count = 0;
    TRY_DO(scanner.scan_array([&](std::size_t index) -> Result<void> {
        count = index + 1;
        const char first = scanner.peek();
        if (index == 0 && first == '"') {
            TRY_ASSIGN(link.node_id, scanner.scan_string());
            return {};
        }
        if (index == 1 && is_link && (first == '-' || (first >= '0' && first <= '9'))) {
            TRY_ASSIGN(const std::string_view text, scanner.scan_number());
            const auto slot = Number{std::string(text)}.as_int();
            if (slot && *slot >= 0 && *slot <= INT32_MAX)
                link.slot = static_cast<int>(*slot);
            else
                is_link = false;
            return {};
        }
        is_link = false;
        TRY_DO(scanner.skip_value());
        return {};
    }));
    if (is_link && count == 2) return link;
    return Raw{};
}

Result<Input> scan_input(JsonScanner& scanner, std::string name) {
    Input input{std::move(name), Raw{}, {}, {}};
    const char first = scanner.peek();
    input.span.begin = scanner.position();
    switch (first) {
        case '"': {
            TRY_ASSIGN(input.value, scanner.scan_string());
            break;
        }
        case '[': {
            TRY_ASSIGN(input.value, scan_list(scanner));
            break;
        }
        case '{':
        case 'n': {
            TRY_DO(scanner.skip_value());
            break;
        }
        case 't':
        case 'f': {
            TRY_DO(scanner.skip_value());
            input.value = first == 't';
            break;
        }
        default: {
            TRY_ASSIGN(const std::string_view text, scanner.scan_number());
            input.value = Number{std::string(text)};
        }
    }
    input.span.end = scanner.position();
    return input;
}

// `inputs_left` counts down over all nodes.
Result<void> scan_inputs(JsonScanner& scanner, Node& node, std::size_t& inputs_left) {
    if (scanner.peek() != '{')
        return fail(Errc::InvalidInput,
                    fmt::format("inputs of node {} are not an object", shown(node.id)));
    node.inputs.clear();
    std::unordered_map<std::string, std::size_t> place_of;
    TRY_ASSIGN(node.inputs_span,
               scanner.scan_object([&](std::string name, Span key_span) -> Result<void> {
                   if (inputs_left-- == 0)
                       return fail(Errc::LimitExceeded,
                                   fmt::format("workflow has more than {} inputs", kInputsMax));
                   const auto [at, is_new] = place_of.emplace(name, node.inputs.size());
                   TRY_ASSIGN(Input input, scan_input(scanner, std::move(name)));
                   input.key_span = key_span;
                   if (is_new)
                       node.inputs.push_back(std::move(input));
                   else
                       node.inputs[at->second] = std::move(input);
                   return {};
               }));
    return {};
}

Result<Node> scan_node(JsonScanner& scanner, std::string id, std::size_t& inputs_left) {
    Node node;
    node.id = std::move(id);
    if (scanner.peek() != '{')
        return fail(Errc::InvalidInput, say<"error.no_node_object">(shown(node.id)));
    bool has_class_type = false;
    TRY_ASSIGN(node.span, scanner.scan_object([&](const std::string& key, Span) -> Result<void> {
        if (key == "class_type") has_class_type = scanner.peek() == '"';  // the last one counts
        if (key == "class_type" && has_class_type) {
            node.class_type_span.begin = scanner.position();
            TRY_ASSIGN(node.class_type, scanner.scan_string());
            node.class_type_span.end = scanner.position();
            return {};
        }
        if (key == "inputs") return scan_inputs(scanner, node, inputs_left);
        if (key == "_meta" && scanner.peek() == '{') {
            TRY_DO(scanner.scan_object([&](const std::string& meta_key, Span) -> Result<void> {
                if (meta_key == "title" && scanner.peek() == '"') {
                    TRY_ASSIGN(node.title, scanner.scan_string());
                    return {};
                }
                TRY_DO(scanner.skip_value());
                return {};
            }));
            return {};
        }
        TRY_DO(scanner.skip_value());
        return {};
    }));
    if (!has_class_type) return fail(Errc::InvalidInput, say<"error.no_class">(shown(node.id)));
    return node;
}

// A first pass over the top level, which checks the whole text and tells the three forms apart.
Result<TopLevel> scan_top_level(JsonScanner scanner) {
    if (scanner.peek() != '{') return fail(Errc::InvalidInput, say<"error.no_workflow_object">());
    TopLevel top;
    TRY_DO(scanner.scan_object([&](const std::string& key, Span) -> Result<void> {
        const char first = scanner.peek();
        const std::size_t begin = scanner.position();
        if (key == "nodes" && first == '[') top.has_ui_nodes = true;
        if (key == "prompt" && first == '{') {
            bool is_node = false;
            TRY_DO(scanner.scan_object([&](const std::string& member, Span) -> Result<void> {
                if (member == "class_type" && scanner.peek() == '"') is_node = true;
                TRY_DO(scanner.skip_value());
                return {};
            }));
            top.prompt_at = is_node ? std::nullopt : std::optional(begin);
            return {};
        }
        TRY_DO(scanner.skip_value());
        return {};
    }));
    if (!scanner.is_at_end())
        return fail(Errc::Corrupt, say<"error.more_text">(scanner.position()));
    return top;
}

void add_fault(Graph& graph, GraphFault fault) {
    if (graph.faults.size() < kFaultsMax) graph.faults.push_back(std::move(fault));
}

void find_dangling_links(Graph& graph) {
    for (const Node& node : graph.nodes)
        for (const Input& input : node.inputs) {
            const auto* link = std::get_if<Link>(&input.value);
            if (link == nullptr || graph.find(link->node_id) != nullptr) continue;
            add_fault(graph,
                      {GraphFault::Kind::DanglingLink, node.id, input.name,
                       fmt::format("{} of node {} comes from node {}, which does not exist",
                                   shown(input.name), shown(node.id), shown(link->node_id))});
        }
}

// Depth-first along the links with a stack of our own; a link to a node that is still open closes a
// circle.
void find_cycles(Graph& graph) {
    enum class Mark : std::uint8_t { Unseen, Open, Done };
    struct Visit {
        std::size_t node;
        std::size_t next_input;
    };
    std::vector<Mark> marks(graph.nodes.size(), Mark::Unseen);
    std::vector<Visit> stack;
    for (std::size_t start = 0; start < graph.nodes.size(); ++start) {
        if (marks[start] != Mark::Unseen) continue;
        marks[start] = Mark::Open;
        stack.push_back({start, 0});
        while (!stack.empty()) {
            Visit& visit = stack.back();
            const Node& node = graph.nodes[visit.node];
            if (visit.next_input == node.inputs.size()) {
                marks[visit.node] = Mark::Done;
                stack.pop_back();
                continue;
            }
            const Input& input = node.inputs[visit.next_input++];
            const auto* link = std::get_if<Link>(&input.value);
            const Node* from = link == nullptr ? nullptr : graph.find(link->node_id);
            if (from == nullptr) continue;
            const auto target = static_cast<std::size_t>(from - graph.nodes.data());
            if (marks[target] == Mark::Open)
                add_fault(graph, {GraphFault::Kind::Cycle, node.id, input.name,
                                  fmt::format("{} of node {} closes a circle through node {}",
                                              shown(input.name), shown(node.id), shown(from->id))});
            if (marks[target] != Mark::Unseen) continue;
            marks[target] = Mark::Open;
            stack.push_back({target, 0});
        }
    }
}

}  // namespace

Result<Graph> parse_api_workflow(std::string_view bytes) {
    if (bytes.size() > kWorkflowBytesMax)
        return fail(Errc::LimitExceeded,
                    say<"error.workflow_bytes">(bytes.size(), kWorkflowBytesMax));
    if (!simdjson::validate_utf8(bytes.data(), bytes.size()))
        return fail(Errc::Corrupt, say<"error.no_unicode">());
    JsonScanner scanner(bytes);
    if (bytes.starts_with("\xEF\xBB\xBF")) scanner.move_to(3);
    TRY_ASSIGN(const TopLevel top, scan_top_level(scanner));
    if (top.has_ui_nodes && !top.prompt_at)
        return fail(Errc::InvalidInput, say<"error.ui_format">());
    if (top.prompt_at) scanner.move_to(*top.prompt_at);

    Graph graph;
    std::size_t inputs_left = kInputsMax;
    std::unordered_map<std::string, std::size_t> place_of;
    TRY_ASSIGN(graph.span, scanner.scan_object([&](std::string id, Span key_span) -> Result<void> {
        const auto [at, is_new] = place_of.emplace(id, graph.nodes.size());
        if (is_new && graph.nodes.size() == kNodesMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("workflow has more than {} nodes", kNodesMax));
        TRY_ASSIGN(Node node, scan_node(scanner, std::move(id), inputs_left));
        node.key_span = key_span;
        if (is_new)
            graph.nodes.push_back(std::move(node));
        else
            graph.nodes[at->second] = std::move(node);
        return {};
    }));
    if (graph.nodes.empty()) return fail(Errc::InvalidInput, say<"error.no_nodes">());
    graph.index();
    find_dangling_links(graph);
    find_cycles(graph);
    return graph;
}

}  // namespace plimsoll::workflow
