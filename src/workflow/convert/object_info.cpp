// SPDX-License-Identifier: Apache-2.0
#include "workflow/convert/object_info.h"

#include "workflow/convert/widget_types.h"

#include <fmt/format.h>

#include <algorithm>
#include <set>
#include <utility>

namespace plimsoll::workflow {
namespace {

constexpr std::size_t kDepthMax = 100;  // chosen: nested dynamic combos of real nodes reach 25

bool is_truthy(const json::value& value) {
    if (const auto* flag = value.if_bool()) return *flag;
    if (const auto* text = value.if_string()) return !text->empty();
    if (value.is_number()) return value.to_number<double>() != 0;
    return !value.is_null();
}

// nullopt when `spec` is not of an input's form.
std::optional<InputSpec> read_spec(std::string name, const json::value& spec, bool is_required) {
    const auto* parts = spec.if_array();
    if (parts == nullptr || parts->empty()) return std::nullopt;
    InputSpec input{std::move(name), {}, is_required, nullptr, nullptr};
    if (parts->size() > 1) input.options = parts->at(1).if_object();
    const json::value& type = parts->front();
    if (const auto* choices = type.if_array()) {
        input.type = "COMBO";
        input.choices = choices;
    } else if (const auto* text = type.if_string()) {
        input.type.assign(text->data(), text->size());
    }
    if (input.type.empty()) return std::nullopt;
    if (const json::value* const choices = input.option("options");
        choices != nullptr && input.choices == nullptr)
        input.choices = choices->if_array();
    return input;
}

void append_section(std::vector<InputSpec>& into, const json::object& section,
                    const json::value* order, std::string_view prefix, bool is_required) {
    std::set<std::string_view> taken;
    const auto append = [&](std::string_view name, const json::value& spec) {
        if (!taken.insert(name).second) return;
        if (auto input =
                read_spec(std::string(prefix).append(name.data(), name.size()), spec, is_required))
            into.push_back(std::move(*input));
    };
    if (const auto* names = order == nullptr ? nullptr : order->if_array())
        for (const json::value& name : *names)
            if (const auto* text = name.if_string())
                if (const json::value* const spec = section.if_contains(*text))
                    append(*text, *spec);
    for (const auto& member : section) append(member.key(), member.value());
}

NodeDefinition read_definition(std::string class_type, const json::value& text) {
    NodeDefinition node;
    node.display_name = find_string(text, "display_name").value_or("");
    if (node.display_name.empty()) node.display_name = title_of_type(class_type);
    node.class_type = std::move(class_type);
    if (const json::value* const inputs = find(text, "input"))
        node.inputs = read_input_specs(*inputs, find(text, "input_order"), {});
    const json::value* const outputs = find(text, "output");
    if (const auto* types = outputs == nullptr ? nullptr : outputs->if_array())
        for (const json::value& type : *types) {
            const auto* name = type.if_string();
            node.output_types.emplace_back(name == nullptr ? std::string_view("COMBO")
                                                           : std::string_view(*name));
        }
    return node;
}

}  // namespace

const json::value* InputSpec::option(std::string_view key) const {
    return options == nullptr ? nullptr : options->if_contains(key);
}

bool InputSpec::has_flag(std::string_view key) const {
    const json::value* const value = option(key);
    return value != nullptr && is_truthy(*value);
}

std::vector<InputSpec> read_input_specs(const json::value& sections, const json::value* order,
                                        std::string_view prefix) {
    std::vector<InputSpec> specs;
    for (const std::string_view name : {"required", "optional"}) {
        const json::value* const section = find(sections, name);
        if (section == nullptr || !section->is_object()) continue;
        const json::value* const names = order == nullptr ? nullptr : find(*order, name);
        append_section(specs, section->get_object(), names, prefix, name == "required");
    }
    return specs;
}

Result<ObjectInfo> ObjectInfo::parse(std::string_view bytes) {
    auto document =
        parse_python_json(bytes, {.bytes_max = kObjectInfoBytesMax, .depth_max = kDepthMax});
    if (!document) return fail_at("object_info", std::move(document).error());
    ObjectInfo info;
    info.document_ = std::make_shared<const json::value>(std::move(*document));
    const auto* nodes = info.document_->if_object();
    const auto is_node = [](const json::key_value_pair& member) {
        return plimsoll::find(member.value(), "input") != nullptr;
    };
    if (nodes == nullptr || std::ranges::none_of(*nodes, is_node))
        return fail(Errc::InvalidInput,
                    "this is no object_info: it maps no node type to its inputs; save what "
                    "ComfyUI answers to GET /object_info");
    for (const auto& member : *nodes) {
        if (!is_node(member)) continue;
        std::string class_type(member.key());
        // Servers say whether a node takes lists since 2026; front end 1.58 is of that time.
        if (plimsoll::find(member.value(), "is_input_list") != nullptr)
            info.front_end_ = FrontEnd::V1_58;
        NodeDefinition node = read_definition(class_type, member.value());
        info.definitions_.emplace(std::move(class_type), std::move(node));
    }
    return info;
}

const NodeDefinition* ObjectInfo::find(std::string_view class_type) const {
    const auto found = definitions_.find(std::string(class_type));
    return found == definitions_.end() ? nullptr : &found->second;
}

}  // namespace plimsoll::workflow
