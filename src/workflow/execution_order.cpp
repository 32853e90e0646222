// SPDX-License-Identifier: Apache-2.0
#include "workflow/execution_order.h"

#include <algorithm>
#include <array>
#include <unordered_map>

namespace plimsoll::workflow {
namespace {

// The graph as indices, with what reads what.
struct Wiring {
    std::vector<std::vector<std::uint32_t>> producers;  // by node, in order of its inputs
    std::vector<std::vector<std::uint32_t>> consumers;
};

Wiring wire(const Graph& graph, const std::function<bool(const Node&, const Input&)>& is_needed) {
    std::unordered_map<std::string_view, std::uint32_t> index;
    index.reserve(graph.nodes.size());
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i) index.emplace(graph.nodes[i].id, i);
    Wiring wiring;
    wiring.producers.resize(graph.nodes.size());
    wiring.consumers.resize(graph.nodes.size());
    for (std::uint32_t i = 0; i < graph.nodes.size(); ++i)
        for (const Input& input : graph.nodes[i].inputs) {
            const auto* link = std::get_if<Link>(&input.value);
            const auto from = link == nullptr ? index.end() : index.find(link->node_id);
            if (from == index.end()) continue;  // a literal, or a fault of the graph
            if (is_needed && !is_needed(graph.nodes[i], input)) continue;
            wiring.producers[i].push_back(from->second);
            wiring.consumers[from->second].push_back(i);
        }
    return wiring;
}

// What the outputs need, in the order in which ComfyUI collects it: from each output a stack on
// which the links of a node are put in order, so that the last is visited first.
std::vector<std::uint32_t> collect(const Wiring& wiring, const std::vector<bool>& output) {
    std::vector<std::uint32_t> pending;
    std::vector<bool> seen(output.size(), false);
    for (std::uint32_t start = 0; start < output.size(); ++start) {
        if (!output[start]) continue;
        std::vector<std::uint32_t> stack{start};
        while (!stack.empty()) {
            const std::uint32_t node = stack.back();
            stack.pop_back();
            if (seen[node]) continue;
            seen[node] = true;
            pending.push_back(node);
            for (const std::uint32_t producer : wiring.producers[node])
                if (!seen[producer]) stack.push_back(producer);
        }
    }
    return pending;
}

// How soon a ready node is taken: outputs, then what feeds one, then what feeds that, then the
// rest.
std::vector<std::uint8_t> ranks(const Wiring& wiring, const std::vector<bool>& output) {
    constexpr std::uint8_t kRest = 3;
    std::vector<std::uint8_t> rank(output.size(), kRest);
    for (std::size_t i = 0; i < output.size(); ++i)
        if (output[i]) rank[i] = 0;
    for (const std::uint8_t step : {std::uint8_t{0}, std::uint8_t{1}})
        for (std::size_t i = 0; i < output.size(); ++i)
            if (rank[i] == step)
                for (const std::uint32_t producer : wiring.producers[i])
                    rank[producer] = std::min(rank[producer], static_cast<std::uint8_t>(step + 1));
    return rank;
}

}  // namespace

ExecutionOrder execution_order(const Graph& graph,
                               const std::function<bool(const Node&)>& is_output,
                               const std::function<bool(const Node&, const Input&)>& is_needed) {
    const Wiring wiring = wire(graph, is_needed);
    std::vector<bool> output(graph.nodes.size());
    for (std::size_t i = 0; i < output.size(); ++i) output[i] = is_output(graph.nodes[i]);
    const std::vector<std::uint32_t> pending = collect(wiring, output);
    const std::vector<std::uint8_t> rank = ranks(wiring, output);

    constexpr std::uint32_t kNotPending = UINT32_MAX;
    std::vector<std::uint32_t> position(graph.nodes.size(), kNotPending);
    for (std::uint32_t i = 0; i < pending.size(); ++i) position[pending[i]] = i;
    std::vector<std::uint32_t> waiting_for(graph.nodes.size(), 0);
    // Ready nodes by rank, each list kept in the order of `pending`.
    std::array<std::vector<std::uint32_t>, 4> ready;
    const auto earlier = [](std::uint32_t a, std::uint32_t b) { return a > b; };  // a heap's order
    const auto offer = [&](std::uint32_t node) {
        auto& heap = ready[rank[node]];
        heap.push_back(position[node]);
        std::ranges::push_heap(heap, earlier);
    };
    for (const std::uint32_t node : pending) {
        waiting_for[node] = static_cast<std::uint32_t>(wiring.producers[node].size());
        if (waiting_for[node] == 0) offer(node);
    }
    ExecutionOrder order;
    order.nodes.reserve(pending.size());
    for (;;) {
        const auto heap = std::ranges::find_if(ready, [](const auto& h) { return !h.empty(); });
        if (heap == ready.end()) break;
        std::ranges::pop_heap(*heap, earlier);
        const std::uint32_t node = pending[heap->back()];
        heap->pop_back();
        order.nodes.push_back(node);
        for (const std::uint32_t consumer : wiring.consumers[node])
            if (position[consumer] != kNotPending && --waiting_for[consumer] == 0) offer(consumer);
    }
    for (const std::uint32_t node : pending)
        if (waiting_for[node] != 0) order.unreachable.push_back(node);
    return order;
}

}  // namespace plimsoll::workflow
