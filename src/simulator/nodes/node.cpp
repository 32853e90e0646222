// SPDX-License-Identifier: Apache-2.0
#include "simulator/nodes/node.h"

#include "simulator/nodes/registry.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <limits>

namespace plimsoll::simulator {

std::unexpected<NodeFailure> raise(std::string type, std::string text) {
    return std::unexpected(
        NodeFailure{NodeFailure::Kind::Raised, std::move(type), std::move(text), false});
}
std::unexpected<NodeFailure> raise_out_of_memory(std::string text) {
    return std::unexpected(
        NodeFailure{NodeFailure::Kind::Raised, "torch.OutOfMemoryError", std::move(text), true});
}
std::unexpected<NodeFailure> stopped() {
    return std::unexpected(NodeFailure{NodeFailure::Kind::Stopped, {}, {}, false});
}

const NodeValue* NodeInputs::find(std::string_view name) const {
    const auto found =
        std::ranges::find_if(all, [&](const auto& item) { return item.first == name; });
    return found == all.end() ? nullptr : &found->second;
}

const Value* NodeInputs::literal(std::string_view name) const {
    const NodeValue* const value = find(name);
    return value == nullptr ? nullptr : std::get_if<Value>(value);
}

double NodeInputs::number(std::string_view name, double otherwise) const {
    const Value* const value = literal(name);
    return value == nullptr ? otherwise : value->number().value_or(otherwise);
}

int NodeInputs::whole(std::string_view name, int otherwise) const {
    const double value = number(name, otherwise);
    return static_cast<int>(std::clamp(value, -2e9, 2e9));
}

std::uint64_t NodeInputs::seed(std::string_view name) const {
    const Value* const value = literal(name);
    const Int* const whole_value = value == nullptr ? nullptr : value->as_int();
    return whole_value == nullptr ? 0 : static_cast<std::uint64_t>(*whole_value);
}

std::string NodeInputs::text(std::string_view name) const {
    const Value* const value = literal(name);
    return value == nullptr || value->is_none() ? std::string() : python_str(*value);
}

std::unexpected<NodeFailure> NodeInputs::wrong_type(const NodeValue* value,
                                                    std::string_view attribute) {
    std::string_view type = "object";
    if (value == nullptr)
        type = "NoneType";
    else if (const Value* const literal = std::get_if<Value>(value))
        type = literal->type_name();
    return raise("AttributeError",
                 fmt::format("'{}' object has no attribute '{}'", type, attribute));
}

NodeFunction find_node_function(std::string_view class_name) {
    for (const auto table : {loader_nodes(), conditioning_nodes(), latent_nodes(), latent_files(),
                             sampler_nodes(), vae_nodes(), image_nodes(), fixture_nodes()})
        for (const NodeEntry& entry : table)
            if (entry.name == class_name) return entry.function;
    return nullptr;
}

}  // namespace plimsoll::simulator
