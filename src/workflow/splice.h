// SPDX-License-Identifier: Apache-2.0
//
// Edits of a workflow as splices on its own bytes: what no edit names stays byte for byte (20-digit
// seeds, key order, spacing, keys that we do not know).
//
// Enters through: text and the Graph parsed from it.   Leaves through: text.   Threads: no shared
// state.
#pragma once
#include "base/error.h"
#include "workflow/graph.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace plimsoll::workflow {

// A whole number is written as the old value was: 6 over "5.0" becomes "6.0", 6.0 over "5" becomes
// "6".
using EditValue = std::variant<std::int64_t, double, bool, std::string, Link>;

// Replaces the value of an input, or adds the input where the node lacks it.
struct SetInput {
    std::string node_id;
    std::string input;
    EditValue value;
};
struct SetClassType {
    std::string node_id;
    std::string class_type;
};
struct AddNode {
    std::string node_id;  // must be new, see free_node_id
    std::string class_type;
    std::vector<std::pair<std::string, EditValue>> inputs;
    std::string title;  // empty: none
};
using Edit = std::variant<SetInput, SetClassType, AddNode>;

// Applied in order; a later edit of the same place wins, and may name a node that an earlier one
// added. An edit to the value that is already there changes nothing. `graph` must have been parsed
// from `source`. Fails with NotFound for an unknown node, InvalidInput for a value that JSON cannot
// hold or an id that is taken; nothing is half applied.
[[nodiscard]] Result<std::string> apply_edits(std::string_view source, const Graph& graph,
                                              const std::vector<Edit>& edits);

// One above the highest numeric id: never taken.
[[nodiscard]] std::string free_node_id(const Graph& graph);

}  // namespace plimsoll::workflow
