// SPDX-License-Identifier: Apache-2.0
//
// What a node's function gets and gives. A node either returns its outputs or fails as its Python
// counterpart would raise.
//
// Threads: the executing thread only.
#pragma once
#include "simulator/card/machine.h"
#include "simulator/card/model_files.h"
#include "simulator/files/file_store.h"
#include "simulator/nodes/node_value.h"

#include <expected>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace plimsoll::simulator {

struct NodeFailure {
    enum class Kind { Raised, Interrupted, Stopped };
    Kind kind = Kind::Raised;
    std::string type;  // "ValueError", "torch.OutOfMemoryError"
    std::string text;
    bool out_of_memory = false;  // gets the tips, and all models are unloaded
};
[[nodiscard]] std::unexpected<NodeFailure> raise(std::string type, std::string text);
[[nodiscard]] std::unexpected<NodeFailure> raise_out_of_memory(std::string text);
[[nodiscard]] std::unexpected<NodeFailure> stopped();

struct NodeResult {
    std::vector<NodeValue> outputs;
    std::optional<Dict> ui;  // what `executed` shows
};
using NodeOutcome = std::expected<NodeResult, NodeFailure>;
using NodeStep = std::expected<void, NodeFailure>;

struct Preview {
    Pixels pixels;
    bool png = false;  // else JPEG
};

struct NodeContext {
    Machine& machine;
    const ModelFiles& files;
    FileStore& store;
    std::string id;
    const Value& prompt;
    const Dict& extra_data;
    std::string temp_prefix;  // of PreviewImage's files: "ComfyUI_temp_abcde"
    int& patch_counter;       // gives each set of patches its number
    // Tells clients how far the node is; fails when the prompt was interrupted.
    std::function<NodeStep(const Value& done, const Value& total, const Preview* preview)> progress;
    std::function<void(std::string_view text)> send_text;
};

// The named values that a node was given, in the order of its declaration.
class NodeInputs {
  public:
    std::vector<std::pair<std::string, NodeValue>> all;

    [[nodiscard]] const NodeValue* find(std::string_view name) const;
    [[nodiscard]] const Value* literal(std::string_view name) const;
    [[nodiscard]] double number(std::string_view name, double otherwise = 0) const;
    [[nodiscard]] int whole(std::string_view name, int otherwise = 0) const;
    [[nodiscard]] std::uint64_t seed(std::string_view name) const;
    [[nodiscard]] std::string text(std::string_view name) const;

    // A linked value of a type. Where a client put a literal instead, what Python raises on its
    // first use: `attribute` is what the node's code asks of it.
    template <class T>
    [[nodiscard]] std::expected<const T*, NodeFailure> linked(std::string_view name,
                                                              std::string_view attribute) const {
        const NodeValue* const value = find(name);
        if (value != nullptr)
            if (const T* const held = std::get_if<T>(value)) return held;
        return wrong_type(value, attribute);
    }

  private:
    [[nodiscard]] static std::unexpected<NodeFailure> wrong_type(const NodeValue* value,
                                                                 std::string_view attribute);
};

using NodeFunction = NodeOutcome (*)(NodeContext& context, const NodeInputs& inputs);
// Nullptr for a node that exists but is not simulated.
[[nodiscard]] NodeFunction find_node_function(std::string_view class_name);

// Binds a linked input or returns its failure from the node's function.
// NOLINTBEGIN(bugprone-macro-parentheses): a declaration
#define PLIMSOLL_LINKED(variable, type, name, attribute)                       \
    const auto variable##_result = inputs.linked<type>(name, attribute);       \
    if (!variable##_result) return std::unexpected(variable##_result.error()); \
    const type& variable = **variable##_result
// NOLINTEND(bugprone-macro-parentheses)
#define PLIMSOLL_STEP(expression)                                   \
    do {                                                            \
        if (auto step_result = (expression); !step_result)          \
            return std::unexpected(std::move(step_result).error()); \
    } while (false)

}  // namespace plimsoll::simulator
