// SPDX-License-Identifier: Apache-2.0
//
// LinkResolver: where the value of an input really comes from, through reroutes, bypassed nodes,
// variables and the borders of subgraphs, both ways. A circle of those leads nowhere.
//
// Threads: one resolver per thread.
#pragma once
#include "workflow/convert/editor_graph.h"

#include <cstddef>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <variant>

namespace plimsoll::workflow {

// One place where a graph stands: the root, or a subgraph at one of its hosts.
struct Frame {
    const EditorGraph* graph = nullptr;
    const EditorSubgraph* subgraph = nullptr;  // nullptr: the root
    const Frame* parent = nullptr;
    const EditorNode* host = nullptr;  // in the parent's graph
    std::string prefix;                // of the ids of its nodes: "12:34:"
    std::unordered_map<const EditorNode*, std::unique_ptr<Frame>> inner;  // by host
};

struct Origin {
    const Frame* frame = nullptr;
    const EditorNode* node = nullptr;
    std::size_t slot = 0;
};
// Nothing, the output of a node, or the value of a promoted widget.
using Source = std::variant<std::monostate, Origin, const std::optional<json::value>*>;

class LinkResolver {
  public:
    explicit LinkResolver(FrontEnd front_end) : front_end_(front_end) {}

    // What feeds input `slot` of a node. Where it is nothing, the node's own widget counts.
    [[nodiscard]] Source resolve(const Frame& frame, const EditorNode& node, std::size_t slot);

  private:
    // Standing at an input or an output of a node, on the way to what feeds it.
    struct Place {
        const Frame* frame = nullptr;
        const EditorNode* node = nullptr;
        std::size_t slot = 0;
        bool is_output = false;
        std::string_view type;  // of the input that asked, for bypassed nodes
        friend bool operator==(const Place&, const Place&) = default;
    };
    struct PlaceHash {
        std::size_t operator()(const Place& place) const;
    };
    using Next = std::variant<Place, Source>;

    [[nodiscard]] static Next leave_input(const Place& at);
    [[nodiscard]] Next leave_output(const Place& at) const;
    [[nodiscard]] static Next leave_subgraph_output(const Place& at);

    FrontEnd front_end_;
    // Where the places on every way so far led: a long chain is walked once, not once for each
    // input behind it.
    std::unordered_map<Place, Source, PlaceHash> known_;
};

}  // namespace plimsoll::workflow
