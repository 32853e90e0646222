// SPDX-License-Identifier: Apache-2.0
//
// Promoted widgets: what a subgraph shows of the widgets inside it. An input of the subgraph that
// is linked to a widget inside shows that widget, with a value of its own. Until front end 1.40 or
// so a subgraph listed the widgets that it shows in a property (proxyWidgets: [node, widget])
// without a link; the front end turns each into a linked input when it loads the file, and so does
// this.
//
// Threads: pure.
#pragma once
#include "workflow/convert/editor_graph.h"

#include <cstddef>
#include <vector>

namespace plimsoll::workflow {

// Gives `host` one socket for each input of its definition, linked as saved, with the widgets that
// they show, filled from the saved values.
void promote_widgets(EditorNode& host, const EditorWorkflow& workflow);

// Where a subgraph stands: the node, and its graph.
struct HostPlace {
    EditorGraph* graph = nullptr;
    std::size_t node = 0;
    [[nodiscard]] EditorNode& operator*() const { return graph->nodes[node]; }
};

// Turns the proxyWidgets of one host into inputs of its definition; `hosts` are all places where
// that definition stands, the host among them. Returns how many inputs the definition gained.
std::size_t adopt_proxy_widgets(EditorNode& host, const std::vector<HostPlace>& hosts,
                                EditorWorkflow& workflow);

}  // namespace plimsoll::workflow
