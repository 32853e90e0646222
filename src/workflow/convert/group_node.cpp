// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/group_node.h"

#include "workflow/convert/editor_node.h"

#include <fmt/format.h>

#include <cstddef>
#include <map>
#include <set>
#include <string_view>
#include <utility>

namespace plimsoll::workflow {
namespace {

// Chosen: of all group nodes of a workflow; each use of a group is a copy of its nodes.
constexpr std::size_t kGroupedNodesMax = 10'000;

// The name behind "workflow>" or "workflow/".
std::optional<std::string_view> group_name(std::string_view type) {
    for (const std::string_view prefix : {"workflow>", "workflow/"})
        if (type.starts_with(prefix)) return type.substr(prefix.size());
    return std::nullopt;
}

using Outlet = std::pair<std::size_t, int>;  // place of a node, its output

struct GroupLinks {
    std::set<Outlet> inner;     // outputs that feed a node of the group
    std::set<Outlet> external;  // outputs that lead out of the group as well
};

std::optional<int> number_at(const json::array& list, std::size_t index) {
    return index < list.size() ? read_ui_slot_number(&list.at(index)) : std::nullopt;
}

const json::array* list_of(const json::value& group, std::string_view key) {
    const json::value* const value = find(group, key);
    return value == nullptr ? nullptr : value->if_array();
}

// Links of a group: [place, output, place, input, type]; the first is null where it came from
// outside.
GroupLinks read_links(const json::value& group, UiGraph& graph) {
    GroupLinks links;
    if (const json::array* const external = list_of(group, "external"))
        for (const json::value& one : *external)
            if (const auto* pair = one.if_array())
                if (const auto node = number_at(*pair, 0), slot = number_at(*pair, 1); node && slot)
                    links.external.emplace(static_cast<std::size_t>(*node), *slot);
    const json::array* const list = list_of(group, "links");
    if (list == nullptr) return links;
    for (const json::value& one : *list) {
        const auto* parts = one.if_array();
        if (parts == nullptr) continue;
        const auto origin = number_at(*parts, 0);
        const auto output = number_at(*parts, 1);
        const auto target = number_at(*parts, 2);
        const auto input = number_at(*parts, 3);
        if (!origin || !output || !target || !input) continue;
        const auto at = static_cast<std::size_t>(*target);
        const auto slot = static_cast<std::size_t>(*input);
        if (at >= graph.nodes.size() || slot >= graph.nodes[at].inputs.size()) continue;
        UiId id = fmt::format("inner {}", graph.links.size());
        graph.nodes[at].inputs[slot].link = id;
        graph.links.emplace(std::move(id), UiLink{.origin_id = fmt::format("{}", *origin),
                                                  .origin_slot = *output,
                                                  .target_id = fmt::format("{}", *target),
                                                  .target_slot = *input});
        links.inner.emplace(static_cast<std::size_t>(*origin), *output);
    }
    return links;
}

// The next `count` of the group's saved values.
const json::value* take_values(const UiNode& group, std::size_t& next, std::size_t count,
                               std::deque<json::value>& keep) {
    const auto* saved =
        group.widgets_values == nullptr ? nullptr : group.widgets_values->if_array();
    if (saved == nullptr) return nullptr;
    json::array part;
    for (; count > 0 && next < saved->size(); --count) part.push_back(saved->at(next++));
    return &keep.emplace_back(std::move(part));
}

// Names as the front end made them: an inner name that is taken gets its node in front.
class PortNames {
  public:
    std::string take(const EditorNode& node, const std::string& input) {
        if (seen_[input]++ == 0) return input;
        std::string longer = fmt::format("{} {}", node.title, input);
        if (const int count = seen_[longer]++; count > 0)
            return fmt::format("{} {} {}", node.title, count, input);
        return longer;
    }

  private:
    std::map<std::string, int> seen_;
};

void add_ports(UiSubgraph& definition, const std::vector<EditorNode>& nodes,
               const GroupLinks& links) {
    PortNames names;
    for (std::size_t at = 0; at < nodes.size(); ++at) {
        const EditorNode& node = nodes[at];
        UiNode& source = definition.graph.nodes[at];
        for (const Socket& socket : node.inputs) {
            if (socket.link && definition.graph.links.contains(*socket.link)) continue;
            const UiId id = fmt::format("outer {}", definition.graph.links.size());
            definition.graph.links.emplace(
                id, UiLink{.origin_id = UiId(kSubgraphInputId),
                           .origin_slot = static_cast<int>(definition.inputs.size()),
                           .target_id = source.id,
                           .target_slot = 0});
            definition.inputs.push_back({names.take(node, socket.name), socket.type, {}, {id}});
            bool is_saved = false;
            for (UiSlot& slot : source.inputs)
                if (slot.name == socket.name) {
                    slot.link = id;
                    is_saved = true;
                }
            if (!is_saved)
                source.inputs.push_back({socket.name, socket.type, {}, id, socket.widget});
        }
        for (std::size_t slot = 0; slot < node.output_types.size(); ++slot) {
            const Outlet outlet{at, static_cast<int>(slot)};
            if (links.inner.contains(outlet) && !links.external.contains(outlet)) continue;
            const UiId id = fmt::format("out {}", definition.graph.links.size());
            definition.graph.links.emplace(id, UiLink{.origin_id = source.id,
                                                      .origin_slot = outlet.second,
                                                      .target_id = UiId(kSubgraphOutputId),
                                                      .target_slot = 0});
            definition.outputs.push_back({{}, node.output_types[slot], {}, {id}});
        }
    }
}

}  // namespace

std::optional<std::string> group_definition_id(const UiNode& node) {
    if (!group_name(node.type)) return std::nullopt;
    return "group node " + node.id;
}

GroupNodes read_group_nodes(const UiWorkflow& workflow, const ObjectInfo& object_info,
                            FrontEnd front_end) {
    GroupNodes groups;
    std::size_t left = kGroupedNodesMax;
    if (workflow.group_nodes == nullptr) return groups;
    for (const UiNode& outer : workflow.root.nodes) {
        const auto name = group_name(outer.type);
        const json::value* const group = name ? workflow.group_nodes->if_contains(*name) : nullptr;
        const json::array* const inner = group == nullptr ? nullptr : list_of(*group, "nodes");
        if (inner == nullptr || inner->size() > left) continue;
        left -= inner->size();
        UiSubgraph definition;
        definition.id = *group_definition_id(outer);
        definition.name = std::string(*name);
        for (const json::value& text : *inner) {
            definition.graph.nodes.push_back(read_ui_node(text));
            UiNode& node = definition.graph.nodes.back();
            node.id = fmt::format("{}", definition.graph.nodes.size() - 1);
            for (UiSlot& slot : node.inputs) slot.link.reset();
        }
        const GroupLinks links = read_links(*group, definition.graph);
        std::vector<EditorNode> nodes;
        std::size_t next = 0;
        for (UiNode& node : definition.graph.nodes) {
            nodes.push_back(load_node(node, object_info, front_end));
            if (const json::value* const values =
                    take_values(outer, next, nodes.back().widgets.size(), groups.values))
                node.widgets_values = values;
        }
        add_ports(definition, nodes, links);
        groups.definitions.push_back(std::move(definition));
    }
    return groups;
}

}  // namespace plimsoll::workflow
