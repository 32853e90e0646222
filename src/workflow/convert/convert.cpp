// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/convert.h"

#include "workflow/convert/editor_graph.h"
#include "workflow/convert/link_resolver.h"
#include "workflow/convert/node_pack.h"
#include "workflow/convert/script_json.h"
#include "workflow/convert/widget_types.h"
#include "workflow/parse.h"

#include <fmt/format.h>

#include <algorithm>
#include <functional>
#include <map>
#include <memory>
#include <set>
#include <unordered_set>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr std::size_t kWarningsMax = 20;  // chosen: nobody reads on

// Chosen: how much there may be once every subgraph is unfolded where it stands. Each place of a
// subgraph is a copy, so a small file can stand for a large workflow.
constexpr std::size_t kUnfoldedSlotsMax = 2'000'000;
constexpr std::size_t kUnfoldedBytesMax = 256ULL << 20U;

struct PlacedNode {
    const Frame* frame = nullptr;
    const EditorNode* node = nullptr;
    std::string id;
};

std::string property(const EditorNode& node, std::string_view key) {
    const json::value* const value =
        node.source->properties == nullptr ? nullptr : node.source->properties->if_contains(key);
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text == nullptr ? std::string() : std::string(*text);
}

// The name by which other nodes' texts find a node: its property, which the front end gives to
// every node that saves nothing.
std::string replace_name(const EditorNode& node) {
    std::string name = property(node, "Node name for S&R");
    return name.empty() && !saves_files(node.source->type) ? node.source->type : name;
}

// Which node pack a node is from, where the file says so in the form that the front end accepts.
void add_pack(json::object& meta, const EditorNode& node) {
    std::string pack = property(node, "cnr_id");
    if (is_pack_id(pack)) meta.emplace("cnr_id", std::move(pack));
    std::string other = property(node, "aux_id");
    if (is_repository(other)) meta.emplace("aux_id", std::move(other));
    std::string version = property(node, "ver");
    if (version.starts_with('v')) version.erase(0, 1);
    if (is_pack_version(version)) meta.emplace("ver", std::move(version));
}

// A list in an input would be read as a link.
json::value wrapped(const json::value& value) {
    if (!value.is_array()) return value;
    return json::object{{"__value__", value}};
}

class Converter {
  public:
    Converter(const EditorWorkflow& workflow, FrontEnd front_end,
              const std::optional<LocalTime>& now)
        : workflow_(workflow), front_end_(front_end), now_(now) {}

    Result<ApiWorkflow> convert() {
        root_.graph = &workflow_.root;
        TRY_DO(place(root_));
        if (placed_.empty())
            return fail(Errc::InvalidInput,
                        "workflow has no node that would run: all are notes, muted or bypassed");
        ApiWorkflow api;
        api.nodes = placed_.size();
        char before = '{';
        for (const PlacedNode& placed : placed_) {
            api.text += before;
            before = ',';
            api.text += "\n  " + json::serialize(json::string_view(placed.id)) + ": ";
            append_script_json(api.text, encode(placed), 1);
            if (api.text.size() > kUnfoldedBytesMax)
                return fail(Errc::LimitExceeded,
                            fmt::format("workflow has more than {} bytes in API format",
                                        kUnfoldedBytesMax));
        }
        api.text += "\n}\n";
        api.warnings = std::move(warnings_);
        return api;
    }

  private:
    // The nodes of a graph, and of the subgraphs in it, that ComfyUI gets.
    Result<void> place(Frame& frame) {
        for (const EditorNode& node : frame.graph->nodes) {
            unfolded_ += 1 + node.inputs.size();
            if (placed_.size() >= kNodesMax || unfolded_ > kUnfoldedSlotsMax)
                return fail(Errc::LimitExceeded,
                            fmt::format("workflow has more than {} nodes or {} slots once its "
                                        "subgraphs are unfolded",
                                        kNodesMax, kUnfoldedSlotsMax));
            if (node.kind == NodeKind::Subgraph) {
                TRY_DO(place_inner(frame, node));
                continue;
            }
            if (node.is_virtual() || node.is_muted() || node.is_bypassed() || frame_is_off_ > 0)
                continue;
            if (node.kind == NodeKind::Unknown && !warn_unknown(node)) continue;
            std::string id = frame.prefix + node.id;
            if (!sent_.insert(id).second) continue;
            placed_.push_back({&frame, &node, std::move(id)});
        }
        return {};
    }

    Result<void> place_inner(Frame& frame, const EditorNode& host) {
        const EditorSubgraph& subgraph = workflow_.subgraphs[host.subgraph];
        auto inner = std::make_unique<Frame>();
        inner->graph = &subgraph.graph;
        inner->subgraph = &subgraph;
        inner->parent = &frame;
        inner->host = &host;
        inner->prefix = frame.prefix + host.id + ":";
        // Only in the root graph: deeper down the front end asks the nodes themselves.
        const bool is_off = front_end_ != FrontEnd::V1_27 && frame.parent == nullptr &&
                            (host.is_muted() || host.is_bypassed());
        frame_is_off_ += is_off ? 1 : 0;
        TRY_DO(place(*inner));
        frame_is_off_ -= is_off ? 1 : 0;
        frame.inner.emplace(&host, std::move(inner));
        return {};
    }

    // Whether a node that object_info does not know is sent: one that nothing is linked to is an
    // ornament of the canvas.
    bool warn_unknown(const EditorNode& node) {
        const auto is_linked = [](const auto& slot) { return slot.link.has_value(); };
        const bool has_output = !node.source->outputs.empty();
        if (!has_output && std::ranges::none_of(node.inputs, is_linked)) return false;
        if (warnings_.size() < kWarningsMax && warned_.insert(node.source->type).second)
            warnings_.push_back(
                fmt::format("object_info does not know node type {}: its values were assigned by "
                            "their order in the file",
                            node.source->type.substr(0, 80)));
        return true;
    }

    json::object encode(const PlacedNode& placed) {
        const EditorNode& node = *placed.node;
        json::object inputs;
        for (const Widget& widget : node.widgets) {
            if (!widget.is_sent) continue;
            const std::optional<json::value> value = sent_value(placed, widget);
            if (!value) continue;
            if (widget.is_curve && !value->is_null())
                inputs.insert_or_assign(widget.name,
                                        json::object{{"__type__", "CURVE"}, {"__value__", *value}});
            else
                inputs.insert_or_assign(widget.name, wrapped(*value));
        }
        for (std::size_t i = 0; i < node.inputs.size(); ++i) encode_link(placed, i, inputs);
        json::object meta{{"title", node.title}};
        if (front_end_ != FrontEnd::V1_27) add_pack(meta, node);
        return {{"inputs", std::move(inputs)},
                {"class_type", node.source->type},
                {"_meta", std::move(meta)}};
    }

    void encode_link(const PlacedNode& placed, std::size_t slot, json::object& inputs) {
        const std::string& name = placed.node->inputs[slot].name;
        const Source source = resolver_.resolve(*placed.frame, *placed.node, slot);
        if (const auto* promoted = std::get_if<const std::optional<json::value>*>(&source)) {
            if (**promoted)
                inputs.insert_or_assign(name, wrapped(***promoted));
            else
                inputs.erase(name);
        } else if (const auto* origin = std::get_if<Origin>(&source)) {
            const std::string id = origin->frame->prefix + origin->node->id;
            if (sent_.contains(id))
                inputs.insert_or_assign(name, json::array{id, origin->slot});
            else
                inputs.erase(name);  // the front end drops the input of a node that is muted
        }
    }

    std::optional<json::value> sent_value(const PlacedNode& placed, const Widget& widget) {
        const EditorNode& node = *placed.node;
        if (node.source->type == "CustomCombo" && widget.name == "index")
            return index_of_choice(placed);
        const auto* text = widget.value ? widget.value->if_string() : nullptr;
        if (text == nullptr) return widget.value;
        if (widget.is_dynamic_prompt) return json::value(resolve_dynamic_prompt(*text));
        const bool is_prefix = widget.name == "filename_prefix" && saves_files(node.source->type);
        if (is_prefix && text->find('%') != json::string::npos)
            return json::value(replace_fields(*text, find_widget_text_, now_));
        return widget.value;
    }

    // Of a custom combo: the place of its choice among the options, -1 where it is none of them.
    json::value index_of_choice(const PlacedNode& placed) {
        const EditorNode& node = *placed.node;
        std::optional<json::value> choice = node.widgets.front().value;
        if (const auto slot = node.find_input(node.widgets.front().name)) {
            const Source source = resolver_.resolve(*placed.frame, node, *slot);
            if (const auto* value = std::get_if<const std::optional<json::value>*>(&source))
                choice = **value;
        }
        int place = 0;
        for (const Widget& widget : node.widgets) {
            if (!widget.name.starts_with("option")) continue;
            if (widget.value == choice) return place;
            ++place;
        }
        return -1;
    }

    // By the name that a node has for searching and replacing, else by its title, in any graph.
    std::optional<std::string> widget_text(std::string_view name, std::string_view widget) {
        if (!is_indexed_) index_names();
        auto found = by_name_.find(name);
        if (found == by_name_.end()) {
            found = by_title_.find(name);
            if (found == by_title_.end()) return std::nullopt;
        }
        const Widget* const value = found->second->find_widget(widget);
        if (value == nullptr) return std::nullopt;
        return value->value ? script_text(*value->value) : std::string();
    }

    void index_names() {
        is_indexed_ = true;
        const auto index = [&](const EditorGraph& graph) {
            for (const EditorNode& node : graph.nodes) {
                by_title_.try_emplace(node.title, &node);
                by_name_.try_emplace(replace_name(node), &node);
            }
        };
        index(workflow_.root);
        for (const EditorSubgraph& subgraph : workflow_.subgraphs) index(subgraph.graph);
    }

    const EditorWorkflow& workflow_;
    FrontEnd front_end_;
    const std::optional<LocalTime>& now_;
    LinkResolver resolver_{front_end_};
    Frame root_;
    std::vector<PlacedNode> placed_;
    std::unordered_set<std::string> sent_;
    std::size_t unfolded_ = 0;
    int frame_is_off_ = 0;
    bool is_indexed_ = false;
    std::map<std::string, const EditorNode*, std::less<>> by_name_;
    std::map<std::string, const EditorNode*, std::less<>> by_title_;
    std::set<std::string> warned_;
    std::vector<std::string> warnings_;
    FindWidgetText find_widget_text_ = [this](std::string_view node, std::string_view widget) {
        return widget_text(node, widget);
    };
};

}  // namespace

Result<ApiWorkflow> convert_workflow(std::string_view ui_workflow, const ObjectInfo& object_info,
                                     const ConvertOptions& options) {
    const FrontEnd front_end = options.front_end.value_or(object_info.front_end());
    TRY_ASSIGN(UiWorkflow source, parse_ui_workflow(ui_workflow));
    TRY_ASSIGN(const EditorWorkflow workflow,
               load_editor_workflow(std::move(source), object_info, front_end));
    return Converter(workflow, front_end, options.now).convert();
}

}  // namespace plimsoll::workflow
