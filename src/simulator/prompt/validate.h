// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI 0.3.64 does with the body of POST /prompt before it queues it: checks of every node
// that an output needs, with its error types and texts, and values turned into their input's type
// in place (cfg 8 becomes 8.0).
//
// Enters through: a parsed prompt.   Leaves through: Validation.   Threads: no shared state.
#pragma once
#include "simulator/prompt/node_catalogue.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

// An uncaught exception of the real server: the answer is 500.
struct ServerError {
    std::string text;
};

struct Validation {
    bool valid = false;
    Dict error;                        // of the whole prompt, when it is not valid
    std::vector<std::string> outputs;  // nodes to execute
    Dict node_errors;
    std::optional<ServerError> crash;
};

// VALIDATE_INPUTS of a node class: the text of the refusal, or nullopt. `value` is the input of the
// name that LoadImage and its like check themselves.
using CustomCheck =
    std::function<std::optional<std::string>(std::string_view class_name, std::string_view value)>;

// Changes literal values of the prompt into their types, also when it refuses.
[[nodiscard]] Validation validate_prompt(const NodeCatalogue& catalogue, Value& prompt,
                                         const Value* partial_targets,
                                         const CustomCheck& custom_check);

// True for ["4", 0]: a reference to another node's output.
[[nodiscard]] bool is_link(const Value& value);

}  // namespace plimsoll::simulator
