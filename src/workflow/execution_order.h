// SPDX-License-Identifier: Apache-2.0
//
// The order in which ComfyUI executes a graph: depth matters less than how near a node is to an
// output. It decides which model is resident when.
#pragma once
#include "workflow/graph.h"

#include <cstdint>
#include <functional>
#include <vector>

namespace plimsoll::workflow {

struct ExecutionOrder {
    std::vector<std::uint32_t>
        nodes;  // indices into Graph::nodes; what no output needs is left out
    std::vector<std::uint32_t> unreachable;  // needed, but a cycle keeps them from running
};

// `is_output`: nodes that ComfyUI runs although nothing reads them. With several outputs the real
// order changes from process to process; here it is that of the source text.
// `is_needed`: false for links that ComfyUI never follows (the branch that a switch does not take).
[[nodiscard]] ExecutionOrder execution_order(
    const Graph& graph, const std::function<bool(const Node&)>& is_output,
    const std::function<bool(const Node&, const Input&)>& is_needed = {});

}  // namespace plimsoll::workflow
