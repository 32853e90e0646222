// SPDX-License-Identifier: Apache-2.0
//
// EditorWorkflow: every graph of a workflow as the front end holds it after loading: nodes with
// their widgets, subgraphs with what they show of the widgets inside (promoted widgets, and the
// older proxyWidgets brought into that form), old group nodes as the subgraphs that they are.
//
// A subgraph is defined once and may stand in many places; everything here is per definition.
//
// Threads: pure.
#pragma once
#include "base/error.h"
#include "workflow/convert/editor_node.h"
#include "workflow/convert/front_end.h"
#include "workflow/convert/group_node.h"
#include "workflow/convert/object_info.h"
#include "workflow/convert/ui_workflow.h"

#include <cstddef>
#include <string>
#include <unordered_map>
#include <vector>

namespace plimsoll::workflow {

struct EditorGraph {
    std::vector<EditorNode> nodes;
    std::unordered_map<UiId, std::size_t> node_at;
    std::unordered_map<UiId, UiLink> links;
    std::unordered_map<std::string, std::size_t> variables;  // SetVariable nodes by name

    [[nodiscard]] EditorNode* find(const UiId& id);
    [[nodiscard]] const EditorNode* find(const UiId& id) const;
    // The link at an input; nullptr: nothing is connected, or the link is not there.
    [[nodiscard]] const UiLink* link_of(const Socket& socket) const;
};

struct EditorSubgraph {
    std::string id;
    std::string name;
    EditorGraph graph;
    std::vector<UiPort> inputs;
    std::vector<UiPort> outputs;
    std::unordered_map<UiId, UiId> renamed;  // nodes, by their id in the file
};

struct EditorWorkflow {
    EditorGraph root;
    std::vector<EditorSubgraph> subgraphs;
    UiWorkflow source;       // the nodes point into it
    GroupNodes group_nodes;  // and into it
};

// Fails with InvalidInput for a subgraph that contains itself, LimitExceeded for subgraphs nested
// too deep. `object_info` must outlive the result.
[[nodiscard]] Result<EditorWorkflow> load_editor_workflow(UiWorkflow source,
                                                          const ObjectInfo& object_info,
                                                          FrontEnd front_end);

}  // namespace plimsoll::workflow
