// SPDX-License-Identifier: Apache-2.0
//
// lower_graph: goes through the nodes in ComfyUI's order and follows what each does to models,
// conditionings, latents and images.
#include "base/say.h"
#include "memory/lowering/held_outputs.h"
#include "memory/lowering/patch_rules.h"
#include "memory/lowering/verbs.h"
#include "memory/simulate.h"
#include "workflow/execution_order.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <cmath>
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
    Lowering(const workflow::Graph& graph, const BuiltModels& models, const InputMedia& media)
        : graph_(graph), models_(models), media_(media) {
        for (const Node& node : graph.nodes)
            for (const auto& input : node.inputs)
                if (const auto* link = std::get_if<Link>(&input.value)) read_.insert(link->node_id);
    }

    Program run() {
        lower_all();
        if (skipped_.empty()) return std::move(program_);
        // Which branches are not taken is known now; what only they need is never run.
        program_ = {};
        outputs_.clear();
        twins_.clear();
        text_budget_ = kTextBudget;
        lower_all();
        return std::move(program_);
    }

  private:
    struct Outputs {
        Values slots;
        std::uint64_t signature = 0;
    };

    void lower_all() {
        const std::unordered_set<const workflow::Input*> skipped = skipped_;
        const auto order = workflow::execution_order(
            graph_, [&](const Node& node) { return is_output(node); },
            [&](const Node&, const workflow::Input& input) { return !skipped.contains(&input); });
        for (const auto& fault : graph_.faults) program_.warnings.push_back(fault.message);
        for (const std::uint32_t index : order.nodes) lower_node(graph_.nodes[index]);
        for (const std::uint32_t index : order.unreachable) {
            const Node& node = graph_.nodes[index];
            NodeScope scope(node, workflow::find_node_kind(node.class_type), resolver_, 0, program_,
                            text_budget_);
            scope.step(UnknownStep{say<"unknown.cycle">()});
        }
    }

    // Links of a switch that its condition rules out.
    void skip_branches(NodeScope& scope) {
        for (const auto& [name, condition] : scope.kind().lazy) {
            const workflow::Input* input = scope.node().find(name);
            if (input == nullptr || !std::holds_alternative<Link>(input->value)) continue;
            const auto needed = scope.evaluate(condition);
            scope.forgive();
            if (needed && workflow::number_of(*needed) == 0.0) skipped_.insert(input);
        }
    }

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
            NodeScope scope(node, kind, resolver_, signature, program_, text_budget_);
            values = kind == nullptr ? lower_unknown(scope) : lower_known(scope);
        }
        twins_.emplace(signature, node.id);
        outputs_.insert_or_assign(node.id, Outputs{std::move(values), signature});
    }

    Values lower_unknown(NodeScope& scope) const {
        const Node& node = scope.node();
        PassedOn through;
        through.why = say<"unknown.kind">(node.id, node.class_type);
        for (const auto& input : node.inputs)
            if (const auto* link = std::get_if<Link>(&input.value))
                if (const Value* value = value_of(*link)) pass_on(through, *value);
        scope.step(UnknownStep{say<"unknown.type">()});
        return {{std::move(through)}};
    }

    Values lower_known(NodeScope& scope) {
        if (!scope.kind().lazy.empty()) skip_branches(scope);
        const std::size_t step = program_.steps.size();
        Values values = lower_verb(scope);
        apply_patch_rules(scope, models_, values);
        if (const Bytes held = held_bytes(scope.kind(), values); held > Bytes(0))
            program_.outputs.push_back({scope.node().id, step, held});
        return values;
    }

    Values lower_verb(NodeScope& scope) const {
        switch (scope.kind().verb) {
            using enum NodeVerb;
            case Compute:
                return compute(scope);
            case Evaluate:
                return evaluate(scope);
            case RunOther:
                return run_other(scope);
            case LoadMedia:
                return lower_media_verb(scope, media_);
            case Patch:
            case LoadCheckpoint:
            case LoadUnet:
            case LoadClip:
            case LoadVae:
            case LoadControlNet:
            case LoadClipVision:
            case LoadUpscaler:
            case LoadLatentUpscaler:
            case LoadOther:
                return lower_model_verb(scope, models_);
            case EncodeText:
            case WriteText:
            case CombineConditioning:
            case ConcatConditioning:
            case ApplyControlNet:
                return lower_conditioning_verb(scope);
            case VaeDecode:
            case VaeEncode:
                return lower_vae_verb(scope);
            case Sample:
            case Guide:
                return lower_sampling_verb(scope);
            case Upscale:
                return lower_upscale_verb(scope);
            case UpscaleLatent:
                return lower_latent_upscale_verb(scope);
        }
        return {{Nothing{}}};
    }

    static Values compute(NodeScope& scope) {
        std::vector<LatentShape> encoded;
        if (!run_image_encodes(scope)) (void)scope.unknown_step();
        scope.forgive();
        if (!run_encodes(scope, encoded)) (void)scope.unknown_step();
        Values values = make_outputs(scope);
        if (scope.kind().refers_to_encoded) refer_to(values, encoded);
        if (scope.kind().outputs.empty() || scope.kind().output_node) scope.step(CpuStep{});
        return values;
    }

    // The expression is the node's own: a, b... are inputs that grow on demand.
    static Values evaluate(NodeScope& scope) {
        const auto& kind = scope.kind();
        const auto result =
            scope.evaluate(scope.text(kind.expression).value_or(""), kind.input_of("values"));
        const auto number = result ? workflow::number_of(*result) : std::nullopt;
        if (!number) return {scope.nothing()};
        return {{NumberValue{*number}},
                {NumberValue{std::trunc(*number)}},
                {NumberValue{*number != 0 ? 1.0 : 0.0}}};
    }

    // Networks that are not forecast: their weights are known where their file was seen.
    static std::vector<ModelIndex> networks_given(NodeScope& scope) {
        std::vector<ModelIndex> given;
        for (const workflow::Input& input : scope.node().inputs) {
            const auto* network = scope.look<ModelValue>(input.name);
            if (network == nullptr) continue;
            if (network->role == ModelRole::Other || network->role == ModelRole::ImageReader ||
                network->role == ModelRole::LatentUpscaler ||
                network->role == ModelRole::AudioEncoder)
                given.push_back(network->use.model);
        }
        return given;
    }

    // A network that is walked looks at the images; false where it is another, or sees otherwise.
    static bool look(NodeScope& scope) {
        if (scope.kind().sees.empty() || scope.text("mode") == "multiview") return false;
        for (const workflow::Input& input : scope.node().inputs) {
            const auto* reader = scope.look<ModelValue>(input.name);
            if (reader == nullptr || reader->role != ModelRole::ImageReader) continue;
            const ModelUse use = reader->use;
            const ImageShape* image = scope.look_pixels(scope.kind().sees.front());
            if (image == nullptr) return false;
            LookStep step{.reader = use, .image = *image};
            step.side = clamped(scope.number("resolution").value_or(0), 0, kSideMax);
            step.shorter_side = scope.text("resize_method") == "lower_bound_resize";
            constexpr double kDetails = 9;  // the last of MoGe's
            step.detail = scope.number("resolution_level").value_or(kDetails) / kDetails;
            step.at_once = clamped(scope.number("batch_size").value_or(1), 1, kFramesMax);
            constexpr int kRefinementsMax = 64;  // chosen: far above what SAM 3's node takes
            step.refinements =
                clamped(scope.number("refine_iterations").value_or(0), 0, kRefinementsMax);
            step.has_text = scope.is_linked("conditioning");
            scope.step(std::move(step));
            return true;
        }
        return false;
    }

    // A network that is walked listens to a sound.
    static bool hear(NodeScope& scope) {
        const auto* listener = scope.look<ModelValue>("audio_encoder");
        const auto* sound = scope.look<SoundShape>("audio");
        if (listener == nullptr || sound == nullptr || listener->role != ModelRole::AudioEncoder)
            return false;
        const ModelUse use = listener->use;
        const double seconds = sound->seconds;
        scope.step(HearStep{.listener = use, .seconds = seconds});
        return true;
    }

    // SDPose's keypoints are made of what a diffusion network sees in one step from the latent that
    // the node encoded, with two tokens of text that ComfyUI brings along.
    static bool sample_once(NodeScope& scope, const std::vector<LatentShape>& encoded) {
        if (scope.kind().network != "SDPose" || encoded.empty()) return false;
        const auto* model = scope.get<ModelValue>("model");
        if (model == nullptr || model->role != ModelRole::Unet) return false;
        constexpr int kTextTokens = 2;
        SampleStep step;
        step.unet = model->use;
        step.patches = model->patches;
        step.sampler = "euler";
        step.scheduler = "simple";
        step.cfg = 1;
        step.steps = 1;
        step.patches.extra_forwards +=
            std::max(0.0, scope.evaluate_number(scope.kind().extra_forwards).value_or(0));
        step.latent = encoded.front();
        ConditionUse text;
        text.tokens = kTextTokens;
        step.positive = {std::move(text)};
        scope.forgive();
        scope.note(say<"taken.one_step">());
        scope.step(std::move(step));
        return true;
    }

    static Values run_other(NodeScope& scope) {
        if (look(scope) || hear(scope)) return make_outputs(scope);
        std::vector<LatentShape> encoded;
        (void)run_encodes(scope, encoded);
        if (sample_once(scope, encoded)) return make_outputs(scope);
        scope.forgive();
        UnknownStep unknown{.reason = say<"unknown.network">(scope.kind().network),
                            .models = networks_given(scope)};
        for (const ModelIndex index : unknown.models)
            unknown.reason = with_weights(std::move(unknown.reason),
                                          scope.program().models[static_cast<std::size_t>(index)]);
        scope.step(std::move(unknown));
        return make_outputs(scope);
    }

    const workflow::Graph& graph_;
    const BuiltModels& models_;
    const InputMedia& media_;
    NodeScope::Resolver resolver_ = [this](const Link& link) { return value_of(link); };
    Program program_;
    std::size_t text_budget_ = kTextBudget;
    std::unordered_map<std::string, Outputs> outputs_;      // by node id
    std::unordered_map<std::uint64_t, std::string> twins_;  // the first node of a signature
    std::unordered_set<std::string> read_;                  // node ids that a link names
    std::unordered_set<const workflow::Input*> skipped_;    // links that are never followed
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
        case ModelRole::ClipVision:
            return "CLIP vision";
        case ModelRole::Upscaler:
            return "upscaler";
        case ModelRole::LatentUpscaler:
            return "latent upsampler";
        case ModelRole::ModelPatch:
            return "model patch";
        case ModelRole::ImageReader:
            return "image reader";
        case ModelRole::AudioEncoder:
            return "audio encoder";
        case ModelRole::Other:
            return "network";
    }
    return "model";
}

Phrase with_weights(Phrase why, const ProgramModel& model) {
    Bytes weights;
    std::vector<std::string_view> seen;
    for (std::size_t i = 0; i < model.built.size() && i < model.files.size(); ++i) {
        if (model.built[i] == nullptr) continue;
        weights += model.built[i]->contents->everything.bytes;
        seen.emplace_back(model.files[i]);
    }
    if (weights == Bytes(0)) return why;
    return say<"unknown.weights">(std::move(why), fmt::format("{}", fmt::join(seen, " + ")),
                                  weights);
}

Program lower_graph(const workflow::Graph& graph, const BuiltModels& models,
                    const InputMedia& media) {
    return Lowering(graph, models, media).run();
}

}  // namespace plimsoll::memory
