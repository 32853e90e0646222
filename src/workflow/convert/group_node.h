// SPDX-License-Identifier: Apache-2.0
//
// Group nodes: how the front end grouped nodes before it had subgraphs. A node "workflow>NAME" (or
// "workflow/NAME") stands for the nodes that extra.groupNodes keeps under NAME. They are read as
// subgraph definitions, one for each group: its inputs are the inner sockets that no inner link
// feeds, its outputs those of the inner nodes, the inner nodes' ids their places in the list.
//
// Threads: pure.
#pragma once
#include "workflow/convert/front_end.h"
#include "workflow/convert/object_info.h"
#include "workflow/convert/ui_workflow.h"

#include <string>
#include <vector>

namespace plimsoll::workflow {

// Under which id the definition of a node is found: its type, or one id for both spellings of a
// group node.
[[nodiscard]] std::string definition_id(const UiNode& node);

// `workflow` must outlive the definitions.
[[nodiscard]] std::vector<UiSubgraph> read_group_nodes(const UiWorkflow& workflow,
                                                       const ObjectInfo& object_info,
                                                       FrontEnd front_end);

}  // namespace plimsoll::workflow
