// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/promotion.h"

#include "base/text.h"

#include <fmt/format.h>

#include <algorithm>
#include <map>
#include <optional>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr int kNestingMax = 200;                 // more than subgraphs may nest
constexpr std::size_t kProxyWidgetsMax = 1'000;  // chosen: of one host; real ones have under 30

// The widget that an input of a node stands for.
std::optional<PromotedWidget> widget_behind(const EditorNode& node, const Socket& socket) {
    if (node.kind == NodeKind::Subgraph) return socket.promoted;
    if (!socket.widget) return std::nullopt;
    const Widget* const widget = node.find_widget(*socket.widget);
    if (widget == nullptr) return std::nullopt;
    return PromotedWidget{widget->value};
}

struct Inner {
    const EditorNode* node = nullptr;
    const Socket* socket = nullptr;
};

// What a link inside a subgraph, from its input `id`, arrives at.
Inner follow_inward(const EditorGraph& graph, const UiId& id) {
    const auto link = graph.links.find(id);
    if (link == graph.links.end()) return {};
    const EditorNode* const node = graph.find(link->second.target_id);
    if (node == nullptr) return {};
    const auto slot = static_cast<std::size_t>(link->second.target_slot);
    if (slot < node->inputs.size() && node->inputs[slot].link == id)
        return {node, &node->inputs[slot]};
    const auto found = std::ranges::find(node->inputs, std::optional(id), &Socket::link);
    if (found == node->inputs.end()) return {};
    return {node, &*found};
}

std::optional<PromotedWidget> widget_of_port(const EditorGraph& graph, const UiPort& port) {
    for (const UiId& id : port.links) {
        const Inner inner = follow_inward(graph, id);
        if (inner.socket == nullptr) continue;
        if (auto widget = widget_behind(*inner.node, *inner.socket)) return widget;
    }
    return std::nullopt;
}

const json::array* saved_list(const EditorNode& host) {
    const json::value* const values = host.source->widgets_values;
    return values == nullptr ? nullptr : values->if_array();
}

// The values that a front end could not place when it last loaded the file, by input.
std::unordered_map<std::string, const json::value*> quarantined_values(const EditorNode& host) {
    std::unordered_map<std::string, const json::value*> values;
    const json::value* const list =
        host.source->properties == nullptr
            ? nullptr
            : host.source->properties->if_contains("proxyWidgetErrorQuarantine");
    const auto* entries = list == nullptr ? nullptr : list->if_array();
    if (entries == nullptr) return values;
    for (const json::value& entry : *entries) {
        const json::value* const original = find(entry, "originalEntry");
        const json::value* const value = find(entry, "hostValue");
        const auto* pair = original == nullptr ? nullptr : original->if_array();
        if (value == nullptr || pair == nullptr || pair->size() < 2) continue;
        const auto* name = pair->at(1).if_string();
        if (read_ui_id(&pair->front()) != "-1" || name == nullptr) continue;
        values.emplace(std::string(*name), value);  // the first one counts
    }
    return values;
}

// In the order of the inputs that show a widget. A list that has a value for each seed's control as
// well shifts the rest, as it does in the front end.
void fill_promoted(EditorNode& host) {
    const json::array* const saved = saved_list(host);
    const json::value* const named = host.source->widgets_values;
    const auto quarantined = quarantined_values(host);
    std::size_t next = 0;
    for (Socket& socket : host.inputs) {
        if (!socket.promoted) continue;
        const json::value* value = nullptr;
        if (saved != nullptr && next < saved->size())
            value = &saved->at(next);
        else if (saved == nullptr && named != nullptr)
            value = named->get_object().if_contains(socket.name);
        if (const auto kept = quarantined.find(socket.name); kept != quarantined.end())
            value = kept->second;
        if (value != nullptr) socket.promoted->value = *value;
        ++next;
    }
}

// One entry of proxyWidgets, and the value that belongs to it.
struct ProxyWidget {
    UiId node;
    std::string widget;
    std::optional<UiId>
        deepest;  // "12: 34: steps" of the oldest form names where it lies in the end
    const json::value* value = nullptr;
};

std::vector<ProxyWidget> read_proxy_widgets(const EditorNode& host,
                                            const std::unordered_map<UiId, UiId>& renamed) {
    std::vector<ProxyWidget> proxies;
    const json::value* const property = host.source->properties == nullptr
                                            ? nullptr
                                            : host.source->properties->if_contains("proxyWidgets");
    json::value parsed;  // some versions saved the list as text
    const json::array* list = property == nullptr ? nullptr : property->if_array();
    if (const auto* text = property == nullptr ? nullptr : property->if_string())
        if (auto value = parse_json(*text); value && value->is_array()) {
            parsed = std::move(*value);
            list = parsed.if_array();
        }
    if (list == nullptr) return proxies;
    const json::array* const saved = saved_list(host);
    for (std::size_t i = 0; i < std::min(list->size(), kProxyWidgetsMax); ++i) {
        const auto* pair = list->at(i).if_array();
        if (pair == nullptr || pair->size() < 2) continue;
        const auto* name = pair->at(1).if_string();
        auto node = read_ui_id(&pair->front());
        if (!node || name == nullptr) continue;
        if (const auto now = renamed.find(*node); now != renamed.end()) *node = now->second;
        ProxyWidget proxy{std::move(*node), std::string(*name), std::nullopt, nullptr};
        if (pair->size() > 2) proxy.deepest = read_ui_id(&pair->at(2));
        if (saved != nullptr && i < saved->size()) proxy.value = &saved->at(i);
        proxies.push_back(std::move(proxy));
    }
    return proxies;
}

// Adopts the proxy widgets of one host.
class Adopter {
  public:
    Adopter(EditorNode& host, const std::vector<HostPlace>& hosts, EditorWorkflow& workflow)
        : host_(host),
          hosts_(hosts),
          workflow_(workflow),
          own_(workflow.subgraphs[host.subgraph]) {}

    // What an entry shows is decided for all of them before the first is adopted; those of
    // primitives come last.
    void adopt(std::vector<ProxyWidget> proxies) {
        std::map<std::pair<UiId, std::string>, std::size_t> port_of;
        for (std::size_t port = 0; port < own_.inputs.size(); ++port)
            port_of.try_emplace(shown_by(own_, port), port);
        std::vector<std::optional<std::size_t>> shown;
        for (ProxyWidget& proxy : proxies) {
            if (!resolves(host_.subgraph, proxy.node, proxy.widget, 0)) strip_prefixes(proxy);
            const auto port = port_of.find({proxy.node, proxy.widget});
            shown.push_back(port == port_of.end() ? std::nullopt : std::optional(port->second));
        }
        std::vector<std::pair<EditorNode*, std::vector<const ProxyWidget*>>> primitives;
        for (std::size_t i = 0; i < proxies.size(); ++i) {
            const ProxyWidget& proxy = proxies[i];
            EditorNode* const node = own_.graph.find(proxy.node);
            if (shown[i]) {
                set_value(*shown[i], proxy.value);
            } else if (node == nullptr) {
                if (proxy.node == "-1")  // an input of the subgraph itself, by name
                    if (const auto input = host_.find_input(proxy.widget))
                        set_value(*input, proxy.value);
            } else if (node->kind == NodeKind::Primitive) {
                auto group =
                    std::ranges::find(primitives, node, [](const auto& one) { return one.first; });
                if (group == primitives.end()) group = primitives.insert(group, {node, {}});
                group->second.push_back(&proxy);
            } else {
                adopt_widget(*node, proxy);
            }
        }
        for (const auto& [node, group] : primitives) adopt_primitive(*node, group);
    }

  private:
    // Whether a widget of that name is there, down to the node that draws it.
    [[nodiscard]] bool resolves(std::size_t subgraph, const UiId& id, std::string_view widget,
                                int depth) const {
        const EditorNode* const node = workflow_.subgraphs[subgraph].graph.find(id);
        if (node == nullptr || depth > kNestingMax) return false;
        if (node->kind != NodeKind::Subgraph) return node->find_widget(widget) != nullptr;
        const auto input = node->find_input(widget);
        return input && node->inputs[*input].promoted;
    }

    static void strip_prefixes(ProxyWidget& proxy) {
        while (true) {
            const std::size_t colon = proxy.widget.find(':');
            if (colon == std::string::npos) return;
            const std::string_view id = trim(std::string_view(proxy.widget).substr(0, colon));
            const std::string_view rest = trim(std::string_view(proxy.widget).substr(colon + 1));
            if (id.empty() || rest.empty() || id.find_first_not_of("0123456789") != id.npos) return;
            proxy.deepest = UiId(id);
            proxy.widget = std::string(rest);
        }
    }

    // What an input of `subgraph` shows: the first node inside, and its widget or input.
    static std::pair<UiId, std::string> shown_by(const EditorSubgraph& subgraph, std::size_t port) {
        if (port < subgraph.inputs.size())
            for (const UiId& id : subgraph.inputs[port].links) {
                const Inner inner = follow_inward(subgraph.graph, id);
                if (inner.socket == nullptr) continue;
                if (inner.node->kind == NodeKind::Subgraph)
                    return {inner.node->id, inner.socket->name};
                if (inner.socket->widget) return {inner.node->id, *inner.socket->widget};
            }
        return {};
    }

    void set_value(std::size_t input, const json::value* value) {
        if (value == nullptr || input >= host_.inputs.size() || !host_.inputs[input].promoted)
            return;
        host_.inputs[input].promoted->value = *value;
    }

    [[nodiscard]] std::optional<std::size_t> find_socket(const EditorNode& node,
                                                         const ProxyWidget& proxy) const {
        for (std::size_t i = 0; i < node.inputs.size(); ++i) {
            const Socket& socket = node.inputs[i];
            if (node.kind != NodeKind::Subgraph) {
                if (socket.widget == proxy.widget && node.find_widget(proxy.widget) != nullptr)
                    return i;
                continue;
            }
            if (!socket.promoted) continue;
            const auto [id, name] = shown_by(workflow_.subgraphs[node.subgraph], i);
            const bool is_named = name == proxy.widget;
            if (proxy.deepest ? is_named && id == *proxy.deepest
                              : is_named || socket.name == proxy.widget)
                return i;
        }
        return std::nullopt;
    }

    void adopt_widget(EditorNode& node, const ProxyWidget& proxy) {
        const auto socket = find_socket(node, proxy);
        if (!socket) return;
        const std::size_t port = add_port(proxy.widget, node.inputs[*socket].type);
        connect(port, node, *socket);
        show_port(port);
        set_value(port, proxy.value);
    }

    // The inputs that the primitive was linked to become linked to one input of the subgraph.
    void adopt_primitive(EditorNode& primitive, const std::vector<const ProxyWidget*>& group) {
        const std::string& name = group.front()->widget;
        if (std::ranges::any_of(group, [&](const auto* one) { return one->widget != name; }))
            return;
        std::vector<std::pair<EditorNode*, std::size_t>> targets;
        for (EditorNode& node : own_.graph.nodes)
            for (std::size_t i = 0; i < node.inputs.size(); ++i) {
                const UiLink* const link = own_.graph.link_of(node.inputs[i]);
                if (link != nullptr && link->origin_id == primitive.id)
                    targets.emplace_back(&node, i);
            }
        if (targets.empty()) return;
        const bool is_titled = !primitive.title.empty() && primitive.title != "PrimitiveNode";
        const std::size_t port = add_port(
            is_titled ? primitive.title : name,
            primitive.output_types.empty() ? std::string("*") : primitive.output_types.front());
        for (const auto& [node, socket] : targets) connect(port, *node, socket);
        show_port(port);
        const auto valued =
            std::ranges::find_if(group, [](const auto* one) { return one->value != nullptr; });
        const Widget* const widget = primitive.find_widget(name);
        if (valued != group.end())
            set_value(port, (*valued)->value);
        else if (widget != nullptr && widget->value)
            set_value(port, &*widget->value);
    }

    std::size_t add_port(const std::string& name, std::string type) {
        std::string unique = name;
        for (int i = 1; std::ranges::find(own_.inputs, unique, &UiPort::name) != own_.inputs.end();
             ++i)
            unique = fmt::format("{}_{}", name, i);
        own_.inputs.push_back({std::move(unique), std::move(type), {}, {}});
        return own_.inputs.size() - 1;
    }

    void connect(std::size_t port, EditorNode& node, std::size_t socket) {
        UiId id = fmt::format("adopted {}", own_.graph.links.size());
        own_.graph.links.insert_or_assign(id, UiLink{.origin_id = UiId(kSubgraphInputId),
                                                     .origin_slot = static_cast<int>(port),
                                                     .target_id = node.id,
                                                     .target_slot = static_cast<int>(socket)});
        node.inputs[socket].link = id;
        own_.inputs[port].links.push_back(std::move(id));
    }

    // At every place where the definition stands.
    void show_port(std::size_t port) {
        const UiPort& added = own_.inputs[port];
        for (const HostPlace& place : hosts_)
            (*place).inputs.push_back(
                {added.name, added.type, {}, added.name, widget_of_port(own_.graph, added)});
    }

    EditorNode& host_;
    const std::vector<HostPlace>& hosts_;
    EditorWorkflow& workflow_;
    EditorSubgraph& own_;
};

}  // namespace

void promote_widgets(EditorNode& host, const EditorWorkflow& workflow) {
    const EditorSubgraph& own = workflow.subgraphs[host.subgraph];
    std::unordered_map<std::string_view, const UiSlot*> saved;
    for (const UiSlot& slot : host.source->inputs) saved[slot.name] = &slot;
    host.inputs.clear();
    for (const UiPort& port : own.inputs) {
        Socket socket{port.name, port.type, {}, {}, widget_of_port(own.graph, port)};
        if (socket.promoted) socket.widget = port.name;
        if (const auto slot = saved.find(port.name); slot != saved.end())
            socket.link = slot->second->link;
        host.inputs.push_back(std::move(socket));
    }
    host.output_types.clear();
    for (const UiPort& port : own.outputs) host.output_types.push_back(port.type);
    fill_promoted(host);
}

std::size_t adopt_proxy_widgets(EditorNode& host, const std::vector<HostPlace>& hosts,
                                EditorWorkflow& workflow) {
    const std::size_t before = workflow.subgraphs[host.subgraph].inputs.size();
    auto proxies = read_proxy_widgets(host, workflow.subgraphs[host.subgraph].renamed);
    if (!proxies.empty()) Adopter(host, hosts, workflow).adopt(std::move(proxies));
    return workflow.subgraphs[host.subgraph].inputs.size() - before;
}

}  // namespace plimsoll::workflow
