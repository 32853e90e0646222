// SPDX-License-Identifier: Apache-2.0
//
// Group nodes: how the front end grouped nodes before it had subgraphs. A node "workflow>NAME" (or
// "workflow/NAME") of the root graph stands for the nodes that extra.groupNodes keeps under NAME.
// Each is read as a subgraph of its own: its inputs are the inner sockets that no inner link feeds,
// its outputs those that lead out, the inner nodes' ids their places in the list. The saved values
// of the group are those of its inner nodes, one after the other.
//
// Threads: pure.
#pragma once
#include "base/json.h"
#include "workflow/convert/front_end.h"
#include "workflow/convert/object_info.h"
#include "workflow/convert/ui_workflow.h"

#include <deque>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::workflow {

struct GroupNodes {
    std::vector<UiSubgraph> definitions;
    std::deque<json::value> values;  // the definitions' nodes point into it
};

// The id of the definition of a group node; nullopt: this is none.
[[nodiscard]] std::optional<std::string> group_definition_id(const UiNode& node);

// `workflow` must outlive the result.
[[nodiscard]] GroupNodes read_group_nodes(const UiWorkflow& workflow, const ObjectInfo& object_info,
                                          FrontEnd front_end);

}  // namespace plimsoll::workflow
