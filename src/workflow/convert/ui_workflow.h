// SPDX-License-Identifier: Apache-2.0
//
// UiWorkflow: ComfyUI's UI format as it lies in the file: nodes with their slots and saved widget
// values, links, subgraph definitions. Nothing is interpreted yet. Input is untrusted: a field of a
// wrong type counts as missing, and every count has a limit.
//
// Enters through: bytes.   Leaves through: UiWorkflow.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "base/json.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

namespace plimsoll::workflow {

// The ids that the front end gives to the two ends of a subgraph.
inline constexpr std::string_view kSubgraphInputId = "-10";
inline constexpr std::string_view kSubgraphOutputId = "-20";

// What a node does when the graph runs, as the front end numbers it.
inline constexpr int kModeMuted = 2;
inline constexpr int kModeBypassed = 4;

// Numbers and text in the file (12, "12"); text here.
using UiId = std::string;

struct UiLink {
    UiId origin_id;
    int origin_slot = 0;
    UiId target_id;
    int target_slot = 0;
};

struct UiSlot {
    std::string name;
    std::string type;  // "*" where it is none
    std::string label;
    std::optional<UiId> link;           // of an input
    std::optional<std::string> widget;  // the widget that this input stands for
};

struct UiNode {
    UiId id;
    std::string type;
    std::string title;
    int mode = 0;
    std::vector<UiSlot> inputs;
    std::vector<UiSlot> outputs;
    const json::value* widgets_values = nullptr;  // a list, or an object by name; nullptr: neither
    const json::object* properties = nullptr;
};

struct UiGraph {
    std::vector<UiNode> nodes;
    std::unordered_map<UiId, UiLink> links;
};

// A slot of a subgraph's own input or output, with the links inside that lead from or to it.
struct UiPort {
    std::string name;
    std::string type;
    std::string label;
    std::vector<UiId> links;
};

struct UiSubgraph {
    std::string id;
    std::string name;
    UiGraph graph;
    std::vector<UiPort> inputs;
    std::vector<UiPort> outputs;
    std::unordered_map<UiId, UiId>
        renamed;  // nodes whose id in the file was taken, see make_ids_unique
};

struct UiWorkflow {
    UiGraph root;
    std::vector<UiSubgraph> subgraphs;
    std::int64_t last_node_id = 0;
    const json::object* group_nodes = nullptr;    // extra.groupNodes, by name
    std::shared_ptr<const json::value> document;  // the pointers above lead into it
};

// Ids of nodes are unique over all graphs of a workflow in newer front ends: where a subgraph has
// an id that the root graph or an earlier definition has, the node gets the next one that is free.
void make_ids_unique(UiWorkflow& workflow);

// Whether this JSON text is a workflow in UI format, by its top level alone: nodes in a list.
[[nodiscard]] bool is_ui_workflow(std::string_view bytes);

// Fails with Corrupt (not JSON), InvalidInput (no workflow in UI format), LimitExceeded.
[[nodiscard]] Result<UiWorkflow> parse_ui_workflow(std::string_view bytes);

// One node, for those that lie elsewhere (old group nodes). `text` must outlive it.
[[nodiscard]] UiNode read_ui_node(const json::value& text);

// An id or a slot number, however it is written; nullopt for anything else.
[[nodiscard]] std::optional<UiId> read_ui_id(const json::value* value);
[[nodiscard]] std::optional<int> read_ui_slot_number(const json::value* value);

}  // namespace plimsoll::workflow
