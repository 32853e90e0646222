// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/editor_graph.h"

#include "workflow/convert/promotion.h"
#include "workflow/convert/widget_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <cstdint>
#include <string_view>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr int kNestingMax = 100;                  // chosen: real subgraphs nest 3 deep
constexpr std::size_t kHostSlotsMax = 1'000'000;  // chosen: the richest template has 500

// Loads the graphs, each definition before the graphs that it stands in.
class Loader {
  public:
    Loader(EditorWorkflow& into, const ObjectInfo& object_info, FrontEnd front_end)
        : workflow_(into), object_info_(object_info), front_end_(front_end) {}

    Result<void> load() {
        workflow_.group_nodes = read_group_nodes(workflow_.source, object_info_, front_end_);
        std::vector<const UiSubgraph*> definitions;
        definitions.reserve(workflow_.source.subgraphs.size() +
                            workflow_.group_nodes.definitions.size());
        for (const UiSubgraph& one : workflow_.source.subgraphs) definitions.push_back(&one);
        for (const UiSubgraph& one : workflow_.group_nodes.definitions) definitions.push_back(&one);
        for (const UiSubgraph* const one : definitions) {
            definition_at_.insert_or_assign(one->id, workflow_.subgraphs.size());
            workflow_.subgraphs.push_back(
                {one->id, one->name, {}, one->inputs, one->outputs, one->renamed});
        }
        marks_.resize(definitions.size(), Mark::Unseen);
        hosts_.resize(definitions.size());
        for (std::size_t i = 0; i < definitions.size(); ++i)
            sources_.push_back(&definitions[i]->graph);
        return load_graph(workflow_.source.root, workflow_.root, 0);
    }

  private:
    enum class Mark : std::uint8_t { Unseen, Open, Done };

    // Hosts of proxy widgets come last, each graph for itself: what they add to a definition is not
    // there yet when the values of its hosts in this graph are filled in.
    Result<void> load_graph(const UiGraph& source, EditorGraph& graph, int depth) {
        graph.links = source.links;
        graph.nodes.reserve(source.nodes.size());
        for (const UiNode& text : source.nodes) {
            const auto group = depth == 0 ? group_definition_id(text) : std::nullopt;
            const auto definition = definition_at_.find(group ? *group : text.type);
            EditorNode node = load_node(text, object_info_, front_end_);
            if (definition != definition_at_.end()) {
                node.kind = NodeKind::Subgraph;
                node.subgraph = definition->second;
                node.widgets.clear();
                TRY_DO(load_definition(definition->second, depth + 1));
                TRY_DO(spend_slots(workflow_.subgraphs[definition->second].inputs.size()));
                promote_widgets(node, workflow_);
                if (group)  // its values are in the inner nodes already
                    for (Socket& socket : node.inputs) socket.promoted.reset();
                hosts_[node.subgraph].push_back({&graph, graph.nodes.size()});
            }
            if (node.kind == NodeKind::SetVariable && !node.variable.empty())
                graph.variables.try_emplace(node.variable, graph.nodes.size());
            graph.node_at.insert_or_assign(node.id, graph.nodes.size());
            graph.nodes.push_back(std::move(node));
        }
        for (EditorNode& node : graph.nodes) {
            if (node.kind != NodeKind::Subgraph || front_end_ == FrontEnd::V1_27) continue;
            const std::size_t added = adopt_proxy_widgets(node, hosts_[node.subgraph], workflow_);
            TRY_DO(spend_slots(added * hosts_[node.subgraph].size()));
        }
        apply_primitives(graph);
        return {};
    }

    Result<void> spend_slots(std::size_t count) {
        if (count > slots_left_)
            return fail(Errc::LimitExceeded,
                        fmt::format("the subgraphs of the workflow have more than {} inputs, "
                                    "counted wherever they stand",
                                    kHostSlotsMax));
        slots_left_ -= count;
        return {};
    }

    Result<void> load_definition(std::size_t index, int depth) {
        EditorSubgraph& subgraph = workflow_.subgraphs[index];
        if (marks_[index] == Mark::Done) return {};
        if (marks_[index] == Mark::Open)
            return fail(Errc::InvalidInput,
                        fmt::format("subgraph \"{}\" contains itself: ComfyUI could not run it "
                                    "either",
                                    subgraph.name.substr(0, 60)));
        if (depth > kNestingMax)
            return fail(Errc::LimitExceeded,
                        fmt::format("subgraphs are nested more than {} deep", kNestingMax));
        marks_[index] = Mark::Open;
        TRY_DO(load_graph(*sources_[index], subgraph.graph, depth));
        marks_[index] = Mark::Done;
        return {};
    }

    // A primitive writes its value into every widget that it is linked to.
    static void apply_primitives(EditorGraph& graph) {
        for (EditorNode& node : graph.nodes)
            for (Socket& socket : node.inputs) {
                const UiLink* const link = graph.link_of(socket);
                if (link == nullptr || !socket.widget) continue;
                const EditorNode* const origin = graph.find(link->origin_id);
                if (origin == nullptr || origin->kind != NodeKind::Primitive ||
                    origin->widgets.empty())
                    continue;
                if (Widget* const widget = node.find_widget(*socket.widget))
                    write_value(*widget, node, origin->widgets.front().value);
            }
    }

    static void write_value(Widget& widget, const EditorNode& node,
                            const std::optional<json::value>& value) {
        widget.value = value;
        if (!value || node.definition == nullptr) return;
        const auto spec = std::ranges::find(node.definition->inputs, widget.name, &InputSpec::name);
        if (spec != node.definition->inputs.end()) widget.value = to_step(*spec, *value);
    }

    EditorWorkflow& workflow_;
    const ObjectInfo& object_info_;
    FrontEnd front_end_;
    std::size_t slots_left_ = kHostSlotsMax;
    std::unordered_map<std::string, std::size_t> definition_at_;
    std::vector<const UiGraph*> sources_;
    std::vector<Mark> marks_;
    std::vector<std::vector<HostPlace>> hosts_;
};

}  // namespace

EditorNode* EditorGraph::find(const UiId& id) {
    const auto found = node_at.find(id);
    return found == node_at.end() ? nullptr : &nodes[found->second];
}

const EditorNode* EditorGraph::find(const UiId& id) const {
    const auto found = node_at.find(id);
    return found == node_at.end() ? nullptr : &nodes[found->second];
}

const UiLink* EditorGraph::link_of(const Socket& socket) const {
    if (!socket.link) return nullptr;
    const auto found = links.find(*socket.link);
    return found == links.end() ? nullptr : &found->second;
}

Result<EditorWorkflow> load_editor_workflow(UiWorkflow source, const ObjectInfo& object_info,
                                            FrontEnd front_end) {
    EditorWorkflow workflow;
    workflow.source = std::move(source);
    if (front_end != FrontEnd::V1_27) make_ids_unique(workflow.source);
    TRY_DO(Loader(workflow, object_info, front_end).load());
    return workflow;
}

}  // namespace plimsoll::workflow
