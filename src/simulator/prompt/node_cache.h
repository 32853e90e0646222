// SPDX-License-Identifier: Apache-2.0
//
// Outputs of nodes that were executed, kept by what went into them. As ComfyUI's classic cache:
// what the next prompt does not contain is dropped when it begins.
//
// Threads: the executing thread only.
#pragma once
#include "simulator/nodes/node_value.h"
#include "simulator/python_value.h"

#include <functional>
#include <map>
#include <optional>
#include <string>
#include <vector>

namespace plimsoll::simulator {

// What IS_CHANGED says of a node: a value that is part of its signature.
using IsChanged = std::function<std::string(const std::string& class_type, const Value& inputs)>;

class NodeCache {
  public:
    struct Entry {
        std::vector<NodeValue> outputs;
        std::optional<Dict> ui;    // the `output` of `executed`
        std::optional<Dict> meta;  // who made it
    };

    // Computes the signatures of a prompt's nodes and drops what has none of them.
    void begin(const Dict& prompt, const IsChanged& is_changed);
    [[nodiscard]] const Entry* find(const std::string& node_id) const;
    void put(const std::string& node_id, Entry entry);
    void clear();

  private:
    int signature_of(const Dict& prompt, const std::string& node_id, const IsChanged& is_changed,
                     int depth);

    std::map<std::string, int> numbers_;     // of each signature's text
    std::map<std::string, int> signatures_;  // of the current prompt's nodes
    std::map<int, Entry> entries_;
};

}  // namespace plimsoll::simulator
