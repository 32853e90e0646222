// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/editor_node.h"

#include "base/text.h"
#include "workflow/convert/widget_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr int kDynamicDepthMax = 8;                // chosen: real dynamic combos are 3 deep
constexpr std::size_t kGuessedWidgetsMax = 1'000;  // chosen: of a node without definition
constexpr int kAutogrowMax = 1'000;                // chosen: real ones grow to 100

// The saved values of one node, handed out in order, or by name where the file has an object.
class SavedValues {
  public:
    explicit SavedValues(const json::value* values) {
        if (values == nullptr) return;
        by_name_ = values->if_object();
        if (const auto* list = values->if_array())
            for (const json::value& value : *list) in_order_.push_back(&value);
    }
    // Older files have a value for inputs that are no widgets any more (forceInput), and for
    // widgets that are not saved any more. Where the file has one for every input of that time,
    // those are dropped. `widgets` are the node's before a file is loaded.
    void drop_outdated(const std::vector<InputSpec>& specs, const std::vector<Widget>& widgets) {
        const auto is_saved = [&](std::size_t i) {
            return i >= widgets.size() || widgets[i].is_saved;
        };
        std::vector<bool> is_forced;
        for (const InputSpec& spec : specs) {
            const bool forced = spec.has_flag("forceInput");
            const auto widget = std::ranges::find(widgets, spec.name, &Widget::name);
            if (widget == widgets.end() ? !forced : !widget->is_saved) continue;
            is_forced.push_back(forced);
            if (spec.has_flag("control_after_generate")) is_forced.push_back(false);
        }
        const auto saved =
            static_cast<std::size_t>(std::ranges::count(widgets, true, &Widget::is_saved));
        const bool has_forced = std::ranges::find(is_forced, true) != is_forced.end();
        if (!has_forced && in_order_.size() == saved) return;
        std::vector<const json::value*> compact;
        for (std::size_t i = 0; i < in_order_.size(); ++i)
            if (is_saved(i)) compact.push_back(in_order_[i]);
        const auto& aligned = compact.size() == is_forced.size() ? compact : in_order_;
        if (aligned.size() != is_forced.size()) return;
        std::vector<const json::value*> kept;
        for (std::size_t i = 0; i < aligned.size(); ++i)
            if (!is_forced[i]) kept.push_back(aligned[i]);
        in_order_ = std::move(kept);
    }

    [[nodiscard]] bool is_list() const { return !in_order_.empty(); }

    // nullptr: none is left.
    const json::value* take(std::string_view name) {
        if (by_name_ != nullptr) return by_name_->if_contains(name);
        return next_ < in_order_.size() ? in_order_[next_++] : nullptr;
    }
    [[nodiscard]] const json::value* peek() const {
        return next_ < in_order_.size() ? in_order_[next_] : nullptr;
    }

  private:
    const json::object* by_name_ = nullptr;
    std::vector<const json::value*> in_order_;
    std::size_t next_ = 0;
};

bool is_control_mode(const json::value* value) {
    static constexpr std::array<std::string_view, 5> kModes = {"fixed", "increment", "decrement",
                                                               "randomize", "increment-wrap"};
    const auto* text = value == nullptr ? nullptr : value->if_string();
    return text != nullptr && std::ranges::find(kModes, std::string_view(*text)) != kModes.end();
}

// Its widget is not saved.
bool has_audio_player(std::string_view type) {
    static constexpr std::array<std::string_view, 6> kTypes = {
        "LoadAudio",    "SaveAudio",     "PreviewAudio",
        "SaveAudioMP3", "SaveAudioOpus", "SaveAudioAdvanced"};
    return std::ranges::find(kTypes, type) != kTypes.end();
}

std::string socket_type(const InputSpec& spec) {
    if (spec.type != kMatchType) return spec.type;
    const json::value* const types = spec.option("template");
    return std::string(types == nullptr ? "*" : find_string(*types, "allowed_types").value_or("*"));
}

// Draws the widgets and sockets of a definition into a node, filled from saved values.
class Drawer {
  public:
    Drawer(EditorNode& node, SavedValues& values, FrontEnd front_end)
        : node_(node), values_(values), front_end_(front_end) {
        for (const UiSlot& slot : node.source->inputs) saved_[slot.name] = &slot;
    }

    void draw(const NodeDefinition& definition) {
        draw_specs(definition.inputs, 0);
        if (definition.class_type == "CustomCombo") draw_custom_combo();
        node_.inputs = std::move(sockets_);
        node_.inputs.insert(node_.inputs.end(), std::make_move_iterator(widget_sockets_.begin()),
                            std::make_move_iterator(widget_sockets_.end()));
        keep_other_sockets();
    }

  private:
    void draw_specs(const std::vector<InputSpec>& specs, int depth) {
        bool has_optional = false;
        for (const InputSpec& spec : specs) {
            if (!spec.is_required && !has_optional && depth == 0) draw_additions();
            has_optional = has_optional || !spec.is_required;
            if (spec.type == kAutogrowType)
                draw_autogrow(spec, depth);
            else
                draw_spec(spec, depth);
        }
        if (!has_optional && depth == 0) draw_additions();
    }

    void draw_spec(const InputSpec& spec, int depth) {
        if (!is_widget(spec)) {
            add_socket(sockets_, {spec.name, socket_type(spec), {}, {}, {}});
            return;
        }
        Widget widget;
        widget.name = spec.name;
        widget.value = default_value(spec);
        widget.is_curve = drawn_type(spec) == "CURVE";
        widget.is_saved = drawn_type(spec) != "IMAGECOMPARE";
        // The front end hooks itself in once, before a saved option replaces the inner widgets.
        widget.is_dynamic_prompt = depth == 0 && spec.has_flag("dynamicPrompts");
        fill(widget);
        repair_value(spec, node_.definition->class_type, widget.value);
        if (!spec.has_flag("socketless"))
            add_socket(widget_sockets_, {spec.name, spec.type, {}, spec.name, {}});
        const std::optional<json::value> value = widget.value;
        node_.widgets.push_back(std::move(widget));
        if (has_seed_control(spec)) draw_seed_control(spec);
        if (drawn_type(spec) == "BOUNDING_BOX")
            for (const char* const side : {"x", "y", "width", "height"}) add_editor_widget(side);
        if (const json::value* const remote = spec.option("remote"); remote != nullptr) {
            add_editor_widget("Auto-refresh after generation");
            if (find_bool(*remote, "refresh_button").value_or(false))
                add_widget("refresh", "refresh");  // sent, though it is a button
        }
        if (spec.type == kDynamicComboType && value) draw_option(spec, *value, depth);
    }

    // The inputs that the chosen option of a dynamic combo adds.
    void draw_option(const InputSpec& spec, const json::value& value, int depth) {
        dynamic_prefixes_.push_back(spec.name + ".");
        const json::value* const inputs = find_dynamic_inputs(spec, value);
        if (inputs != nullptr && depth < kDynamicDepthMax)
            draw_specs(read_input_specs(*inputs, nullptr, spec.name + "."), depth + 1);
    }

    // A group of inputs that repeats: one group more than are linked, and no fewer than `min` + 1.
    void draw_autogrow(const InputSpec& spec, int depth) {
        const json::value* const pattern = spec.option("template");
        const json::value* const inputs = pattern == nullptr ? nullptr : find(*pattern, "input");
        if (inputs == nullptr || depth >= kDynamicDepthMax) return;
        const std::vector<InputSpec> group = read_input_specs(*inputs, nullptr, {});
        if (group.empty()) return;
        std::vector<std::string> names;
        if (const json::value* const list = find(*pattern, "names"))
            if (const auto* array = list->if_array())
                for (const json::value& name : *array)
                    if (const auto* text = name.if_string()) names.emplace_back(*text);
        const std::string prefix(find_string(*pattern, "prefix").value_or(""));
        const auto number = [&](std::string_view key, int otherwise) {
            return static_cast<int>(std::clamp(find_number(*pattern, key).value_or(otherwise), 0.0,
                                               1.0 * kAutogrowMax));
        };
        const int max = names.empty() ? number("max", 100) : static_cast<int>(names.size());
        const int min = number("min", 1);
        const auto name_of = [&](const InputSpec& one, int ordinal) {
            if (!names.empty()) return spec.name + "." + names[static_cast<std::size_t>(ordinal)];
            return fmt::format("{}.{}{}", spec.name, group.size() == 1 ? prefix : one.name,
                               ordinal);
        };
        for (int ordinal = 0, wanted = min + 1; ordinal < std::min(wanted, max); ++ordinal)
            for (InputSpec one : group) {
                one.name = name_of(one, ordinal);
                if (is_linked(one.name)) wanted = std::max(wanted, ordinal + 2);
                draw_spec(one, depth + 1);
            }
    }

    void draw_seed_control(const InputSpec& spec) {
        add_editor_widget("control_after_generate");
        if (spec.type == "COMBO") add_editor_widget("control_filter_list");
    }

    // What the front end's own extensions append to the required inputs of some nodes.
    void draw_additions() {
        const NodeDefinition& definition = *node_.definition;
        const auto is_upload = [](const InputSpec& spec) {
            return spec.is_required && spec.type == "COMBO" &&
                   (spec.has_flag("image_upload") || spec.has_flag("video_upload") ||
                    spec.has_flag("animated_image_upload"));
        };
        if (std::ranges::any_of(definition.inputs, is_upload)) add_editor_widget("upload");
        const std::string_view type = definition.class_type;
        if (type == "SaveGLB" || type == "Preview3D") add_widget("image", "");
        if (type == "Load3DAdvanced") add_widget("viewport_state", "");
        if (has_audio_player(type))
            node_.widgets.push_back(
                {.name = "audioUI",
                 .value = "",
                 .is_sent = front_end_ == FrontEnd::V1_27,  // 1.58 keeps the player to itself
                 .is_saved = false});
        const auto is_audio_upload = [](const InputSpec& spec) {
            return spec.is_required && spec.name == "audio" && spec.has_flag("audio_upload");
        };
        if (std::ranges::any_of(definition.inputs, is_audio_upload)) add_editor_widget("upload");
    }

    // Its choices are texts that the user writes: one more widget than there are texts, and the
    // place of the choice among them.
    void draw_custom_combo() {
        add_widget("index", 0);
        for (std::size_t count = 1; count <= kGuessedWidgetsMax; ++count) {
            const Widget& option = add_widget(fmt::format("option{}", count), "");
            if (!option.value || *option.value == json::value("")) break;
        }
    }

    const Widget& add_widget(std::string name, json::value value) {
        Widget widget{.name = std::move(name), .value = std::move(value)};
        fill(widget);
        node_.widgets.push_back(std::move(widget));
        return node_.widgets.back();
    }

    void add_editor_widget(std::string name) {
        Widget widget{.name = std::move(name), .value = std::nullopt, .is_sent = false};
        fill(widget);
        node_.widgets.push_back(std::move(widget));
    }

    void fill(Widget& widget) {
        if (!widget.is_saved) return;
        if (const json::value* const value = values_.take(widget.name)) widget.value = *value;
    }

    void add_socket(std::vector<Socket>& into, Socket socket) {
        if (!defined_.insert(socket.name).second) return;
        if (const auto saved = saved_.find(socket.name); saved != saved_.end())
            socket.link = saved->second->link;
        into.push_back(std::move(socket));
    }

    [[nodiscard]] bool is_linked(const std::string& name) const {
        const auto saved = saved_.find(name);
        return saved != saved_.end() && saved->second->link.has_value();
    }

    // Saved sockets that the definition lacks stay, but for those of an option that is not chosen
    // and those that stand for a widget which is not there.
    void keep_other_sockets() {
        std::unordered_set<std::string_view> widgets;
        for (const Widget& widget : node_.widgets) widgets.insert(widget.name);
        for (const UiSlot& slot : node_.source->inputs) {
            const bool is_of_option = std::ranges::any_of(
                dynamic_prefixes_,
                [&](const std::string& prefix) { return slot.name.starts_with(prefix); });
            if (is_of_option || (slot.widget && !widgets.contains(*slot.widget))) continue;
            if (!defined_.insert(slot.name).second) continue;
            node_.inputs.push_back({slot.name, slot.type, slot.link, slot.widget, {}});
        }
    }

    EditorNode& node_;
    SavedValues& values_;
    FrontEnd front_end_;
    std::unordered_map<std::string_view, const UiSlot*> saved_;
    std::unordered_set<std::string> defined_;
    std::vector<std::string> dynamic_prefixes_;
    std::vector<Socket> sockets_;  // the front end puts those without a widget first
    std::vector<Socket> widget_sockets_;
};

// A node that object_info does not know: its sockets say which widgets it had.
void guess_widgets(EditorNode& node) {
    const UiNode& source = *node.source;
    SavedValues values(source.widgets_values);
    for (const UiSlot& slot : source.inputs) {
        node.inputs.push_back({slot.name, slot.type, slot.link, slot.widget, {}});
        if (!slot.widget || node.widgets.size() >= kGuessedWidgetsMax) continue;
        Widget widget{.name = *slot.widget, .value = std::nullopt};
        if (const json::value* const value = values.take(widget.name)) widget.value = *value;
        node.widgets.push_back(std::move(widget));
        const bool is_seed = slot.widget->ends_with("seed");
        if (is_seed && is_control_mode(values.peek())) values.take({});
    }
}

void keep_sockets(EditorNode& node) {
    for (const UiSlot& slot : node.source->inputs)
        node.inputs.push_back({slot.name, slot.type, slot.link, slot.widget, {}});
}

NodeKind kind_of(const UiNode& source, const ObjectInfo& object_info) {
    if (object_info.find(source.type) != nullptr) return NodeKind::Plain;
    if (source.type == "Reroute") return NodeKind::Reroute;
    if (source.type == "PrimitiveNode") return NodeKind::Primitive;
    if (source.type == "Note" || source.type == "MarkdownNote") return NodeKind::Note;
    if (source.type == "SetNode") return NodeKind::SetVariable;
    if (source.type == "GetNode") return NodeKind::GetVariable;
    return NodeKind::Unknown;
}

// Whether a node of this type once had more values than it has now.
bool may_be_outdated(const NodeDefinition& definition) {
    return has_audio_player(definition.class_type) ||
           std::ranges::any_of(definition.inputs, [](const InputSpec& spec) {
               return spec.has_flag("forceInput") || drawn_type(spec) == "IMAGECOMPARE";
           });
}

const json::value* first_value(const UiNode& source) {
    const auto* list =
        source.widgets_values == nullptr ? nullptr : source.widgets_values->if_array();
    return list == nullptr || list->empty() ? nullptr : &list->front();
}

}  // namespace

Widget* EditorNode::find_widget(std::string_view name) {
    const auto found = std::ranges::find(widgets, name, &Widget::name);
    return found == widgets.end() ? nullptr : &*found;
}

const Widget* EditorNode::find_widget(std::string_view name) const {
    const auto found = std::ranges::find(widgets, name, &Widget::name);
    return found == widgets.end() ? nullptr : &*found;
}

std::optional<std::size_t> EditorNode::find_input(std::string_view name) const {
    const auto found = std::ranges::find(inputs, name, &Socket::name);
    if (found == inputs.end()) return std::nullopt;
    return static_cast<std::size_t>(found - inputs.begin());
}

EditorNode load_node(const UiNode& source, const ObjectInfo& object_info, FrontEnd front_end) {
    EditorNode node;
    node.source = &source;
    node.definition = object_info.find(source.type);
    node.kind = kind_of(source, object_info);
    node.id = source.id;
    node.title = source.title;
    for (const UiSlot& output : source.outputs) node.output_types.push_back(output.type);
    if (node.definition != nullptr) {
        if (node.title.empty()) node.title = node.definition->display_name;
        for (std::size_t i = 0; i < node.definition->output_types.size(); ++i) {
            if (i == node.output_types.size()) node.output_types.emplace_back();
            if (node.definition->output_types[i] != kMatchType)
                node.output_types[i] = node.definition->output_types[i];
        }
        SavedValues values(source.widgets_values);
        if (values.is_list() && may_be_outdated(*node.definition)) {
            SavedValues none(nullptr);
            Drawer(node, none, front_end).draw(*node.definition);
            values.drop_outdated(node.definition->inputs, std::exchange(node.widgets, {}));
            node.inputs.clear();
        }
        Drawer(node, values, front_end).draw(*node.definition);
        return node;
    }
    if (node.title.empty()) node.title = source.type;
    if (node.kind == NodeKind::Unknown) {
        guess_widgets(node);
        return node;
    }
    keep_sockets(node);
    const json::value* const value = first_value(source);
    if (node.kind == NodeKind::Primitive && value != nullptr)
        node.widgets.push_back({.name = "value", .value = *value});
    if (const auto* text = value == nullptr ? nullptr : value->if_string();
        text != nullptr &&
        (node.kind == NodeKind::SetVariable || node.kind == NodeKind::GetVariable))
        node.variable.assign(text->data(), text->size());
    return node;
}

}  // namespace plimsoll::workflow
