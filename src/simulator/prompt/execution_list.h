// SPDX-License-Identifier: Apache-2.0
//
// The order in which ComfyUI executes the nodes of a prompt. It is not depth first: among the nodes
// that are ready an output comes first, then what feeds an output, then what feeds that.
//
// Threads: no shared state.
#pragma once
#include "simulator/python_value.h"

#include <functional>
#include <optional>
#include <set>
#include <string>
#include <vector>

namespace plimsoll::simulator {

class ExecutionList {
  public:
    // `prompt` outlives this object. Cached nodes need not be executed for others' sake.
    ExecutionList(const Dict& prompt, std::function<bool(const std::string&)> is_cached,
                  std::function<bool(const std::string&)> is_output);

    // The output node and all that it needs.
    void add(const std::string& output);
    [[nodiscard]] bool empty() const { return pending_.empty(); }
    // The node to execute next. Nullopt when all that is left waits for each other.
    [[nodiscard]] std::optional<std::string> pick() const;
    void complete(const std::string& id);

  private:
    struct Pending {
        std::string id;
        std::set<std::string> waits_for;
        std::vector<std::string> feeds;
    };
    [[nodiscard]] const Pending* find(const std::string& id) const;
    [[nodiscard]] bool feeds_output(const Pending& node) const;

    const Dict& prompt_;
    std::function<bool(const std::string&)> is_cached_;
    std::function<bool(const std::string&)> is_output_;
    std::vector<Pending> pending_;
};

}  // namespace plimsoll::simulator
