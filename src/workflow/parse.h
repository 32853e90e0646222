// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's API format ("prompt") into a Graph: the bare prompt, or the body of POST /prompt with
// the prompt inside. Input is untrusted. A later duplicate of a key replaces the earlier one, as in
// Python.
//
// Enters through: bytes.   Leaves through: Graph.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "workflow/graph.h"

#include <cstddef>
#include <string_view>

namespace plimsoll::workflow {

inline constexpr std::size_t kWorkflowBytesMax =
    100ULL << 20U;                                  // ComfyUI's --max-upload-size default, 100 MB
inline constexpr std::size_t kNodesMax = 100'000;   // chosen: the largest template has under 300
inline constexpr std::size_t kInputsMax = 300'000;  // chosen: of all nodes; that template has 1,500
inline constexpr std::size_t kFaultsMax = 1'000;    // chosen: nobody reads on

// Spans are offsets into `bytes`. Dangling links and cycles are faults in the graph, not errors;
// beyond kFaultsMax they are not listed.
// Fails with Corrupt (not JSON), InvalidInput (JSON that is no prompt: the UI format, a node
// without class_type...), LimitExceeded.
[[nodiscard]] Result<Graph> parse_api_workflow(std::string_view bytes);

}  // namespace plimsoll::workflow
