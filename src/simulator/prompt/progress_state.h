// SPDX-License-Identifier: Apache-2.0
//
// How far each node of the running prompt is: the content of `progress_state` messages.
// Threads: the executing thread only.
#pragma once
#include "simulator/python_value.h"

#include <string>
#include <utility>
#include <vector>

namespace plimsoll::simulator {

class ProgressState {
  public:
    explicit ProgressState(std::string prompt_id) : prompt_id_(std::move(prompt_id)) {}

    void start(const std::string& id) { entry(id) = {id, 0.0, 1.0, "running"}; }
    void update(const std::string& id, Value value, Value max) {
        entry(id) = {id, std::move(value), std::move(max), "running"};
    }
    // A node that was never started, because it was cached, counts as one whole step.
    void finish(const std::string& id) {
        Entry& one = entry(id);
        one.value = one.max;
        one.state = "finished";
    }

    [[nodiscard]] Dict message() const {
        Dict nodes;
        for (const Entry& one : entries_)
            nodes.set(one.id, Dict{{"value", one.value},
                                   {"max", one.max},
                                   {"state", Value(one.state)},
                                   {"node_id", Value(one.id)},
                                   {"prompt_id", Value(prompt_id_)},
                                   {"display_node_id", Value(one.id)},
                                   {"parent_node_id", Value()},
                                   {"real_node_id", Value(one.id)}});
        return {{"prompt_id", Value(prompt_id_)}, {"nodes", Value(std::move(nodes))}};
    }

  private:
    struct Entry {
        std::string id;
        Value value = 0;
        Value max = 1;
        const char* state = "pending";
    };
    Entry& entry(const std::string& id) {
        for (Entry& one : entries_)
            if (one.id == id) return one;
        return entries_.emplace_back(Entry{.id = id});
    }

    std::string prompt_id_;
    std::vector<Entry> entries_;
};

}  // namespace plimsoll::simulator
