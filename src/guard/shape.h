// SPDX-License-Identifier: Apache-2.0
//
// What makes two jobs alike: the same shape takes the same memory, the same models need no loading,
// the same graph is answered from ComfyUI's cache.
//
// Enters through: workflow::Graph.   Leaves through: text keys.   Threads: no shared state.
#pragma once
#include "workflow/graph.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// Of everything that fixes a job's memory: classes, links and values, without seeds, words and
// names of what is written. 16 hexadecimal digits; the same in every process and version.
[[nodiscard]] std::string shape_of(const workflow::Graph& graph);
// The model files that the graph loads whole (no LoRAs, VAEs and small helpers), sorted and joined
// by " + "; empty where it names none.
[[nodiscard]] std::string models_of(const workflow::Graph& graph);
// The nodes that no other reads, in the order of the graph.
[[nodiscard]] std::vector<std::string> sinks_of(const workflow::Graph& graph);
// Of the bytes themselves.
[[nodiscard]] std::string digest_of(std::string_view bytes);

}  // namespace plimsoll::guard
