// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/link_resolver.h"

#include "base/text.h"

#include <algorithm>
#include <cstdint>
#include <functional>
#include <vector>

namespace plimsoll::workflow {
namespace {

// Types are lists ("INT,FLOAT"), letter case does not count, and "*" goes with all.
bool can_connect(std::string_view a, std::string_view b) {
    if (a.empty() || b.empty() || a == "*" || b == "*") return true;
    const std::string first = to_lower_ascii(a);
    const std::string second = to_lower_ascii(b);
    if (first == second) return true;
    const auto others = split(second, ',');
    return std::ranges::any_of(split(first, ','), [&](std::string_view one) {
        return one == "*" || std::ranges::find(others, one) != others.end() ||
               std::ranges::find(others, "*") != others.end();
    });
}

// Which input a bypassed node hands on at an output: the one beside it, else the first of the very
// type, else the first that fits.
std::optional<std::size_t> bypass_input(const EditorNode& node, std::size_t output,
                                        std::string_view type) {
    const std::vector<Socket>& inputs = node.inputs;
    if (inputs.empty()) return std::nullopt;
    if (type == "*" || type.empty()) return inputs.size() > output ? output : 0;
    const std::string_view own =
        output < node.output_types.size() ? std::string_view(node.output_types[output]) : "*";
    const auto fits = [&](const Socket& input) {
        return can_connect(input.type, own) && can_connect(input.type, type);
    };
    if (output < inputs.size() && fits(inputs[output])) return output;
    auto found = std::ranges::find(inputs, type, &Socket::type);
    if (found == inputs.end()) found = std::ranges::find_if(inputs, fits);
    if (found == inputs.end()) return std::nullopt;
    return static_cast<std::size_t>(found - inputs.begin());
}

std::optional<std::size_t> first_input(const EditorNode& node) {
    return node.inputs.empty() ? std::nullopt : std::optional<std::size_t>(0);
}

}  // namespace

std::size_t LinkResolver::PlaceHash::operator()(const Place& place) const {
    std::size_t hash = std::hash<std::string_view>()(place.type);
    const auto mix = [&](std::size_t more) {
        hash ^= more + 0x9E3779B97F4A7C15U + (hash << 6U) + (hash >> 2U);
    };
    mix(std::hash<const void*>()(place.frame));
    mix(std::hash<const void*>()(place.node));
    mix(place.slot * 2 + (place.is_output ? 1U : 0U));
    return hash;
}

LinkResolver::Next LinkResolver::leave_input(const Place& at) {
    const Socket& socket = at.node->inputs[at.slot];
    const UiLink* const link = at.frame->graph->link_of(socket);
    if (link == nullptr) return Source();
    const auto slot = static_cast<std::size_t>(link->origin_slot);
    const std::string_view type = at.type.empty() ? std::string_view(socket.type) : at.type;
    if (at.frame->subgraph != nullptr && link->origin_id == kSubgraphInputId) {
        const EditorNode& host = *at.frame->host;
        if (slot >= host.inputs.size()) return Source();
        const Socket& outer = host.inputs[slot];
        if (at.frame->parent->graph->link_of(outer) != nullptr)
            return Place{at.frame->parent, &host, slot, false, {}};
        if (outer.promoted) return Source(&outer.promoted->value);
        return Source();
    }
    const EditorNode* const origin = at.frame->graph->find(link->origin_id);
    if (origin == nullptr) return Source();
    return Place{at.frame, origin, slot, true, type};
}

LinkResolver::Next LinkResolver::leave_subgraph_output(const Place& at) {
    const auto inner = at.frame->inner.find(at.node);
    if (inner == at.frame->inner.end()) return Source();
    const Frame& frame = *inner->second;
    if (at.slot >= frame.subgraph->outputs.size()) return Source();
    for (const UiId& id : frame.subgraph->outputs[at.slot].links) {
        const auto link = frame.graph->links.find(id);
        if (link == frame.graph->links.end()) continue;
        const auto slot = static_cast<std::size_t>(link->second.origin_slot);
        if (link->second.origin_id == kSubgraphInputId) {  // straight through
            if (slot >= at.node->inputs.size()) return Source();
            return Place{at.frame, at.node, slot, false, at.type};
        }
        const EditorNode* const origin = frame.graph->find(link->second.origin_id);
        if (origin == nullptr) return Source();
        return Place{&frame, origin, slot, true, at.type};
    }
    return Source();
}

LinkResolver::Next LinkResolver::leave_output(const Place& at) const {
    const EditorNode& node = *at.node;
    const auto through = [&](std::optional<std::size_t> input, std::string_view type) -> Next {
        if (!input || *input >= node.inputs.size()) return Source();
        return Place{at.frame, &node, *input, false, type};
    };
    if (node.is_muted() && front_end_ != FrontEnd::V1_27) return Source();
    if (node.is_bypassed()) return through(bypass_input(node, at.slot, at.type), {});
    switch (node.kind) {
        case NodeKind::Plain:
        case NodeKind::Unknown:
            return Source(Origin{at.frame, &node, at.slot});
        case NodeKind::Subgraph:
            return leave_subgraph_output(at);
        case NodeKind::Reroute:
        case NodeKind::SetVariable:
            return through(first_input(node), at.type);
        case NodeKind::GetVariable:
            for (const Frame* frame = at.frame; frame != nullptr; frame = frame->parent)
                if (const auto found = frame->graph->variables.find(node.variable);
                    found != frame->graph->variables.end()) {
                    const EditorNode& setter = frame->graph->nodes[found->second];
                    if (setter.inputs.empty()) return Source();
                    return Place{frame, &setter, 0, false, at.type};
                }
            return Source();
        // A primitive's value is in the widgets that it is linked to already.
        case NodeKind::Primitive:
        case NodeKind::Note:
            return Source();
    }
    return Source();
}

Source LinkResolver::resolve(const Frame& frame, const EditorNode& node, std::size_t slot) {
    std::vector<Place> way;
    Source source;
    Next next = leave_input(Place{&frame, &node, slot, false, {}});
    while (const Place* const place = std::get_if<Place>(&next)) {
        const auto [known, is_new] = known_.try_emplace(*place);
        if (!is_new) {  // a place on this very way holds nothing yet: a circle
            source = known->second;
            break;
        }
        way.push_back(*place);
        next = place->is_output ? leave_output(way.back()) : leave_input(way.back());
    }
    if (const Source* const found = std::get_if<Source>(&next)) source = *found;
    for (const Place& place : way) known_[place] = source;
    return source;
}

}  // namespace plimsoll::workflow
