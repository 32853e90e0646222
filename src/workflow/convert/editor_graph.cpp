// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/editor_graph.h"

#include "workflow/convert/promotion.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr int kNestingMax = 100;  // chosen: real subgraphs nest 3 deep

// Loads the graphs, each definition before the graphs that it stands in.
class Loader {
  public:
    Loader(EditorWorkflow& into, const ObjectInfo& object_info, FrontEnd front_end)
        : workflow_(into), object_info_(object_info), front_end_(front_end) {}

    Result<void> load() {
        workflow_.group_nodes = read_group_nodes(workflow_.source, object_info_, front_end_);
        std::vector<const UiSubgraph*> definitions;
        for (const UiSubgraph& one : workflow_.source.subgraphs) definitions.push_back(&one);
        for (const UiSubgraph& one : workflow_.group_nodes.definitions) definitions.push_back(&one);
        for (const UiSubgraph* const one : definitions) {
            definition_at_.insert_or_assign(one->id, workflow_.subgraphs.size());
            workflow_.subgraphs.push_back({one->id, one->name, {}, one->inputs, one->outputs});
        }
        marks_.resize(definitions.size(), Mark::Unseen);
        hosts_.resize(definitions.size());
        for (std::size_t i = 0; i < definitions.size(); ++i)
            sources_.push_back(&definitions[i]->graph);
        TRY_DO(load_graph(workflow_.source.root, workflow_.root, 0));
        if (front_end_ == FrontEnd::V1_58) adopt_proxies();
        return {};
    }

  private:
    enum class Mark : std::uint8_t { Unseen, Open, Done };

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
        apply_primitives(graph);
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
        order_.push_back(index);
        return {};
    }

    // Inside out: what a subgraph shows may be what one inside it shows.
    void adopt_proxies() {
        const auto adopt_in = [&](EditorGraph& graph) {
            for (EditorNode& node : graph.nodes)
                if (node.kind == NodeKind::Subgraph)
                    adopt_proxy_widgets(node, hosts_[node.subgraph], workflow_);
        };
        for (const std::size_t index : order_) adopt_in(workflow_.subgraphs[index].graph);
        adopt_in(workflow_.root);
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
                    widget->value = origin->widgets.front().value;
            }
    }

    EditorWorkflow& workflow_;
    const ObjectInfo& object_info_;
    FrontEnd front_end_;
    std::unordered_map<std::string, std::size_t> definition_at_;
    std::vector<const UiGraph*> sources_;
    std::vector<Mark> marks_;
    std::vector<std::vector<HostPlace>> hosts_;
    std::vector<std::size_t> order_;
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
    TRY_DO(Loader(workflow, object_info, front_end).load());
    return workflow;
}

}  // namespace plimsoll::workflow
