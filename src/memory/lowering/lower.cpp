// SPDX-License-Identifier: Apache-2.0
//
// lower_graph: goes through the nodes in ComfyUI's order and follows what each does to models,
// conditionings, latents and images.
#include "memory/lowering/verbs.h"
#include "memory/simulate.h"
#include "workflow/execution_order.h"

#include <algorithm>
#include <unordered_map>
#include <unordered_set>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::Link;
using workflow::Node;
using workflow::NodeKind;
using workflow::NodeVerb;

class Lowering {
  public:
    Lowering(const workflow::Graph& graph, const BuiltModels& models)
        : graph_(graph), models_(models) {
        for (const Node& node : graph.nodes)
            for (const auto& input : node.inputs)
                if (const auto* link = std::get_if<Link>(&input.value)) read_.insert(link->node_id);
    }

    Program run() {
        const auto order =
            workflow::execution_order(graph_, [&](const Node& node) { return is_output(node); });
        for (const auto& fault : graph_.faults) program_.warnings.push_back(fault.message);
        for (const std::uint32_t index : order.nodes) lower_node(graph_.nodes[index]);
        for (const std::uint32_t index : order.unreachable) {
            const Node& node = graph_.nodes[index];
            NodeScope scope(node, workflow::find_node_kind(node.class_type), resolver_, 0,
                            program_);
            scope.step(UnknownStep{"a cycle of links keeps the node from running"});
        }
        return std::move(program_);
    }

  private:
    struct Outputs {
        Values slots;
        std::uint64_t signature = 0;
    };

    // A type that is not known may be an output; one that nothing reads must be.
    bool is_output(const Node& node) const {
        const NodeKind* kind = workflow::find_node_kind(node.class_type);
        return kind != nullptr ? kind->output_node : !read_.contains(node.id);
    }

    const Value* value_of(const Link& link) const {
        const auto found = outputs_.find(link.node_id);
        if (found == outputs_.end() || found->second.slots.empty()) return nullptr;
        const Values& slots = found->second.slots;
        const auto slot = static_cast<std::size_t>(std::max(link.slot, 0));
        return &slots[std::min(slot, slots.size() - 1)];
    }

    // Equal for equal nodes with equal inputs, all the way up.
    std::uint64_t signature_of(const Node& node) const {
        std::vector<const workflow::Input*> inputs;
        inputs.reserve(node.inputs.size());
        for (const auto& input : node.inputs) inputs.push_back(&input);
        std::ranges::sort(inputs, {}, &workflow::Input::name);
        std::uint64_t hash = hash_text(kHashStart, node.class_type);
        for (const workflow::Input* input : inputs) {
            hash = hash_number(hash_text(hash, input->name), input->value.index());
            if (const auto* link = std::get_if<Link>(&input->value)) {
                const auto from = outputs_.find(link->node_id);
                hash = hash_number(hash, from == outputs_.end() ? 0 : from->second.signature);
                hash = hash_number(hash, static_cast<std::uint64_t>(link->slot));
            } else if (const auto* number = std::get_if<workflow::Number>(&input->value)) {
                hash = hash_text(hash, number->text);
            } else if (const auto* text = std::get_if<std::string>(&input->value)) {
                hash = hash_text(hash, *text);
            } else if (const auto* flag = std::get_if<bool>(&input->value)) {
                hash = hash_number(hash, *flag ? 1 : 0);
            } else {
                // An object or a list is not looked into: elsewhere in the text it counts as
                // another.
                hash = hash_number(hash, input->span.begin);
            }
        }
        return hash;
    }

    void lower_node(const Node& node) {
        const std::uint64_t signature = signature_of(node);
        const NodeKind* kind = workflow::find_node_kind(node.class_type);
        const auto twin = twins_.find(signature);
        // ComfyUI's cache answers for a node that is equal to an earlier one.
        const bool answered = twin != twins_.end() && kind != nullptr && !kind->output_node;
        Values values;
        if (answered) {
            values = outputs_[twin->second].slots;
        } else {
            NodeScope scope(node, kind, resolver_, signature, program_);
            values = kind == nullptr ? lower_unknown(scope) : lower_known(scope);
        }
        twins_.emplace(signature, node.id);
        outputs_.insert_or_assign(node.id, Outputs{std::move(values), signature});
    }

    Values lower_unknown(NodeScope& scope) const {
        const Node& node = scope.node();
        PassedOn through;
        through.why = "node " + node.id + " (" + node.class_type + ") is not known";
        for (const auto& input : node.inputs)
            if (const auto* link = std::get_if<Link>(&input.value))
                if (const Value* value = value_of(*link)) through.inputs.push_back(*value);
        scope.step(UnknownStep{"the node type is not known"});
        return {{std::move(through)}};
    }

    Values lower_known(NodeScope& scope) const {
        switch (scope.kind().verb) {
            using enum NodeVerb;
            case Compute:
                scope.step(CpuStep{});
                return {{Nothing{}}};
            case Pass:
            case Constant:
            case Patch:
            case LoadCheckpoint:
            case LoadUnet:
            case LoadClip:
            case LoadVae:
            case LoadControlNet:
                return lower_model_verb(scope, models_);
            case EncodeText:
            case CombineConditioning:
            case ConcatConditioning:
            case ApplyControlNet:
            case EncodeConditioning:
                return lower_conditioning_verb(scope);
            case EmptyLatent:
            case ResizeLatent:
            case ScaleLatent:
            case RepeatLatent:
            case TakeLatents:
            case JoinLatents:
            case LoadImage:
            case EmptyImage:
            case ResizeImage:
            case ScaleImage:
            case FitImage:
            case PadImage:
            case RepeatImage:
                return lower_shape_verb(scope);
            case VaeDecode:
            case VaeEncode:
                return lower_vae_verb(scope);
            case Sample:
            case ChooseSampler:
            case Schedule:
            case Guide:
                return lower_sampling_verb(scope);
        }
        return {{Nothing{}}};
    }

    const workflow::Graph& graph_;
    const BuiltModels& models_;
    NodeScope::Resolver resolver_ = [this](const Link& link) { return value_of(link); };
    Program program_;
    std::unordered_map<std::string, Outputs> outputs_;      // by node id
    std::unordered_map<std::uint64_t, std::string> twins_;  // the first node of a signature
    std::unordered_set<std::string> read_;                  // node ids that a link names
};

}  // namespace

std::string_view model_role_name(ModelRole role) {
    switch (role) {
        case ModelRole::Unet:
            return "unet";
        case ModelRole::TextEncoder:
            return "text encoder";
        case ModelRole::Vae:
            return "vae";
        case ModelRole::ControlNet:
            return "controlnet";
    }
    return "model";
}

Program lower_graph(const workflow::Graph& graph, const BuiltModels& models) {
    return Lowering(graph, models).run();
}

}  // namespace plimsoll::memory
