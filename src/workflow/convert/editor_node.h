// SPDX-License-Identifier: Apache-2.0
//
// EditorNode: a node as the front end holds it once the file is loaded: the widgets that its
// definition draws, filled from the saved values in order, and the sockets, reconciled by name with
// the saved ones. Saved values carry no names, so their order is the definition's, with what the
// front end adds between (control_after_generate, upload buttons, the inputs of the chosen option
// of a dynamic combo). A file saved by another version is filled as wrongly as the front end fills
// it.
//
// Threads: pure.
#pragma once
#include "base/json.h"
#include "workflow/convert/front_end.h"
#include "workflow/convert/object_info.h"
#include "workflow/convert/ui_workflow.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::workflow {

enum class NodeKind : std::uint8_t {
    Plain,      // runs on the server
    Unknown,    // as Plain, but object_info does not know it
    Subgraph,   // stands for the nodes of its definition
    Reroute,    // hands its input on
    Primitive,  // writes its value into the widgets that it is linked to
    Note,       // text on the canvas
    SetVariable,
    GetVariable,  // hands on what the SetVariable of the same name is linked to
};

struct Widget {
    std::string name;
    std::optional<json::value> value;  // nullopt: JavaScript's undefined, never sent
    bool is_sent = true;               // false: of the editor alone (a button, the seed's control)
    bool is_saved = true;              // false: the file has no value for it
    bool is_curve = false;
    bool is_dynamic_prompt = false;  // {a|b} and comments are resolved when it is sent
};

// What a subgraph shows of a widget inside it: its own value, which goes in unless it is linked.
struct PromotedWidget {
    std::optional<json::value> value;
};

struct Socket {
    std::string name;
    std::string type;
    std::optional<UiId> link;
    std::optional<std::string> widget;       // the one that it replaces while linked
    std::optional<PromotedWidget> promoted;  // of a Subgraph
};

struct EditorNode {
    const UiNode* source = nullptr;
    const NodeDefinition* definition = nullptr;
    NodeKind kind = NodeKind::Plain;
    UiId id;
    std::string title;
    std::vector<Widget> widgets;
    std::vector<Socket> inputs;
    std::vector<std::string> output_types;
    std::size_t subgraph = 0;  // of a Subgraph: which definition
    std::string variable;      // of Set- and GetVariable: its name

    [[nodiscard]] Widget* find_widget(std::string_view name);
    [[nodiscard]] const Widget* find_widget(std::string_view name) const;
    [[nodiscard]] std::optional<std::size_t> find_input(std::string_view name) const;
    [[nodiscard]] bool is_muted() const { return source->mode == kModeMuted; }
    [[nodiscard]] bool is_bypassed() const { return source->mode == kModeBypassed; }
    // Whether ComfyUI gets to see it.
    [[nodiscard]] bool is_virtual() const {
        return kind != NodeKind::Plain && kind != NodeKind::Unknown;
    }
};

// `source` must outlive the node. Subgraphs and group nodes are not known here.
[[nodiscard]] EditorNode load_node(const UiNode& source, const ObjectInfo& object_info,
                                   FrontEnd front_end);

}  // namespace plimsoll::workflow
