// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/ui_workflow.h"

#include "base/text.h"
#include "workflow/json_scanner.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <unordered_set>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr std::size_t kDepthMax = 100;        // chosen: real workflows are under 15 deep
constexpr std::size_t kSubgraphsMax = 5'000;  // chosen: the richest template defines 20
constexpr std::size_t kSlotsMax = 1'000'000;  // chosen: of all nodes; that template has 2,000
constexpr std::size_t kTypeBytesMax = 2'000;  // chosen: the longest list of types has 140
constexpr std::size_t kIdBytesMax = 200;      // chosen: real ids are numbers or UUIDs
constexpr std::size_t kLinksMax = 1'000'000;  // chosen: as the slots

// What all graphs of one workflow may still hold.
struct Budget {
    std::size_t nodes = kNodesMax;
    std::size_t slots = kSlotsMax;
    std::size_t links = kLinksMax;
};

Result<void> spend(std::size_t& left, std::size_t count, std::size_t max, std::string_view what) {
    if (count > left)
        return fail(Errc::LimitExceeded, fmt::format("workflow has more than {} {}", max, what));
    left -= count;
    return {};
}

std::string text_of(const json::value& object, std::string_view key) {
    return std::string(find_string(object, key).value_or(""));
}

std::string type_of(const json::value& slot) {
    std::string type = text_of(slot, "type");
    return type.empty() || type.size() > kTypeBytesMax ? "*" : type;  // 0 and "" mean any too
}

const json::array* list_of(const json::value& object, std::string_view key) {
    const json::value* const value = find(object, key);
    return value == nullptr ? nullptr : value->if_array();
}

const json::object* object_of(const json::value& object, std::string_view key) {
    const json::value* const value = find(object, key);
    return value == nullptr ? nullptr : value->if_object();
}

UiSlot read_slot(const json::value& text) {
    UiSlot slot;
    slot.name = text_of(text, "name");
    slot.type = type_of(text);
    slot.label = text_of(text, "label");
    slot.link = read_ui_id(find(text, "link"));
    if (const json::value* const widget = find(text, "widget"))
        if (const auto name = find_string(*widget, "name")) slot.widget = std::string(*name);
    return slot;
}

void read_slots(const json::value& node, std::string_view key, std::vector<UiSlot>& into) {
    const json::array* const slots = list_of(node, key);
    if (slots == nullptr) return;
    into.reserve(slots->size());
    for (const json::value& slot : *slots) into.push_back(read_slot(slot));
}

// [id, origin, slot, target, slot, type] of a root graph, or an object with those names.
void read_link(const json::value& text, UiGraph& graph) {
    const auto* list = text.if_array();
    const auto part = [&](std::size_t index, std::string_view key) -> const json::value* {
        if (list == nullptr) return find(text, key);
        return index < list->size() ? &list->at(index) : nullptr;
    };
    auto id = read_ui_id(part(0, "id"));
    auto origin = read_ui_id(part(1, "origin_id"));
    auto target = read_ui_id(part(3, "target_id"));
    if (!id || !origin || !target) return;
    graph.links.insert_or_assign(
        std::move(*id),
        UiLink{.origin_id = std::move(*origin),
               .origin_slot = read_ui_slot_number(part(2, "origin_slot")).value_or(0),
               .target_id = std::move(*target),
               .target_slot = read_ui_slot_number(part(4, "target_slot")).value_or(0)});
}

Result<void> read_graph(const json::value& text, UiGraph& graph, Budget& budget) {
    if (const json::array* const nodes = list_of(text, "nodes")) {
        TRY_DO(spend(budget.nodes, nodes->size(), kNodesMax, "nodes"));
        graph.nodes.reserve(nodes->size());
        for (const json::value& node : *nodes) {
            if (!node.is_object()) continue;
            graph.nodes.push_back(read_ui_node(node));
            TRY_DO(spend(budget.slots,
                         graph.nodes.back().inputs.size() + graph.nodes.back().outputs.size(),
                         kSlotsMax, "slots"));
        }
    }
    const json::value* const links = find(text, "links");
    if (links == nullptr) return {};
    if (const auto* list = links->if_array()) {
        TRY_DO(spend(budget.links, list->size(), kLinksMax, "links"));
        for (const json::value& link : *list) read_link(link, graph);
    } else if (const auto* by_id = links->if_object()) {
        TRY_DO(spend(budget.links, by_id->size(), kLinksMax, "links"));
        for (const auto& member : *by_id) read_link(member.value(), graph);
    }
    return {};
}

Result<void> read_ports(const json::value& text, std::string_view key, std::vector<UiPort>& into,
                        Budget& budget) {
    const json::array* const ports = list_of(text, key);
    if (ports == nullptr) return {};
    TRY_DO(spend(budget.slots, ports->size(), kSlotsMax, "slots"));
    for (const json::value& port : *ports) {
        UiPort read{text_of(port, "name"), type_of(port), text_of(port, "label"), {}};
        if (const json::array* const links = list_of(port, "linkIds")) {
            TRY_DO(spend(budget.links, links->size(), kLinksMax, "links"));
            for (const json::value& link : *links)
                if (auto id = read_ui_id(&link)) read.links.push_back(std::move(*id));
        }
        into.push_back(std::move(read));
    }
    return {};
}

// What has the id of an earlier one is dropped.
void keep_first_of_each_id(UiGraph& graph) {
    std::unordered_set<UiId> seen;
    std::erase_if(graph.nodes, [&](const UiNode& node) { return !seen.insert(node.id).second; });
}

// Definitions may hold definitions of their own, to any depth that the parser allows.
Result<void> read_subgraphs(const json::value& text, UiWorkflow& workflow, Budget& budget,
                            std::unordered_set<std::string>& seen) {
    const json::value* const definitions = find(text, "definitions");
    const json::array* const list =
        definitions == nullptr ? nullptr : list_of(*definitions, "subgraphs");
    if (list == nullptr) return {};
    for (const json::value& one : *list) {
        UiSubgraph subgraph;
        subgraph.id = text_of(one, "id");
        subgraph.name = text_of(one, "name");
        if (!subgraph.id.empty() && seen.insert(subgraph.id).second) {
            if (workflow.subgraphs.size() == kSubgraphsMax)
                return fail(
                    Errc::LimitExceeded,
                    fmt::format("workflow has more than {} subgraph definitions", kSubgraphsMax));
            TRY_DO(read_graph(one, subgraph.graph, budget));
            TRY_DO(read_ports(one, "inputs", subgraph.inputs, budget));
            TRY_DO(read_ports(one, "outputs", subgraph.outputs, budget));
            keep_first_of_each_id(subgraph.graph);
            workflow.subgraphs.push_back(std::move(subgraph));
        }
        TRY_DO(read_subgraphs(one, workflow, budget, seen));
    }
    return {};
}

// Gives out ids as the front end does: one above the highest so far.
class NodeIds {
  public:
    explicit NodeIds(std::int64_t last) : last_(last) {}

    bool take(const UiId& id) {
        if (!taken_.insert(id).second) return false;
        if (const auto number = parse_integer(id)) last_ = std::max<std::int64_t>(last_, *number);
        return true;
    }
    UiId mint() {
        while (last_ < kMintedIdMax) {
            UiId id = fmt::format("{}", ++last_);
            if (taken_.insert(id).second) return id;
        }
        return {};
    }

  private:
    static constexpr std::int64_t kMintedIdMax = 1LL << 53;  // where JavaScript stops counting
    std::int64_t last_;
    std::unordered_set<UiId> taken_;
};

}  // namespace

std::optional<UiId> read_ui_id(const json::value* value) {
    if (value == nullptr) return std::nullopt;
    if (const auto* text = value->if_string())
        return text->size() > kIdBytesMax ? std::nullopt : std::optional(UiId(*text));
    if (const auto* number = value->if_int64()) return fmt::format("{}", *number);
    if (const auto* number = value->if_uint64()) return fmt::format("{}", *number);
    if (const auto* number = value->if_double()) return fmt::format("{}", *number);
    return std::nullopt;
}

std::optional<int> read_ui_slot_number(const json::value* value) {
    if (value == nullptr) return std::nullopt;
    std::optional<double> number;
    if (value->is_number()) number = value->to_number<double>();
    if (const auto* text = value->if_string()) number = parse_number(*text);
    if (!number || !(*number >= 0 && *number <= INT32_MAX)) return std::nullopt;
    return static_cast<int>(*number);
}

UiNode read_ui_node(const json::value& text) {
    UiNode node;
    node.id = read_ui_id(find(text, "id")).value_or("");
    node.type = text_of(text, "type");
    node.title = text_of(text, "title");
    node.mode = static_cast<int>(
        std::clamp<std::int64_t>(find_int(text, "mode").value_or(0), INT32_MIN, INT32_MAX));
    read_slots(text, "inputs", node.inputs);
    read_slots(text, "outputs", node.outputs);
    if (const json::value* const values = find(text, "widgets_values");
        values != nullptr && (values->is_array() || values->is_object()))
        node.widgets_values = values;
    node.properties = object_of(text, "properties");
    return node;
}

void make_ids_unique(UiWorkflow& workflow) {
    NodeIds ids(workflow.last_node_id);
    for (const UiNode& node : workflow.root.nodes) ids.take(node.id);
    for (UiSubgraph& subgraph : workflow.subgraphs) {
        for (UiNode& node : subgraph.graph.nodes)
            if (!ids.take(node.id)) {
                UiId minted = ids.mint();
                if (minted.empty()) continue;
                subgraph.renamed.emplace(node.id, minted);
                node.id = std::move(minted);
            }
        if (subgraph.renamed.empty()) continue;
        const auto follow = [&](UiId& id) {
            if (const auto found = subgraph.renamed.find(id); found != subgraph.renamed.end())
                id = found->second;
        };
        for (auto& [id, link] : subgraph.graph.links) {
            follow(link.origin_id);
            follow(link.target_id);
        }
    }
}

bool is_ui_workflow(std::string_view bytes) {
    JsonScanner scanner(bytes);
    if (bytes.starts_with("\xEF\xBB\xBF")) scanner.move_to(3);
    if (scanner.peek() != '{') return false;
    bool has_nodes = false;
    const auto scanned = scanner.scan_object([&](const std::string& key, Span) -> Result<void> {
        has_nodes = has_nodes || (key == "nodes" && scanner.peek() == '[');
        TRY_DO(scanner.skip_value());
        return {};
    });
    return scanned.has_value() && has_nodes;
}

Result<UiWorkflow> parse_ui_workflow(std::string_view bytes) {
    if (bytes.starts_with("\xEF\xBB\xBF")) bytes.remove_prefix(3);
    TRY_ASSIGN(json::value document,
               parse_json(bytes, {.bytes_max = kWorkflowBytesMax, .depth_max = kDepthMax}));
    if (list_of(document, "nodes") == nullptr)
        return fail(Errc::InvalidInput,
                    "this is no workflow in ComfyUI's UI format: it has no list of nodes");
    UiWorkflow workflow;
    workflow.document = std::make_shared<const json::value>(std::move(document));
    Budget budget;
    TRY_DO(read_graph(*workflow.document, workflow.root, budget));
    std::unordered_set<std::string> seen;
    TRY_DO(read_subgraphs(*workflow.document, workflow, budget, seen));
    workflow.last_node_id = find_int(*workflow.document, "last_node_id").value_or(0);
    if (const json::value* const state = find(*workflow.document, "state"))
        workflow.last_node_id = find_int(*state, "lastNodeId").value_or(workflow.last_node_id);
    if (const json::value* const extra = find(*workflow.document, "extra"))
        workflow.group_nodes = object_of(*extra, "groupNodes");
    return workflow;
}

}  // namespace plimsoll::workflow
