// SPDX-License-Identifier: Apache-2.0
//
// lower_graph: goes through the nodes in ComfyUI's order and follows what each does to models,
// conditionings, latents and images (the verbs of data/nodes.json).
#include "memory/lowering/prompt_tokens.h"
#include "memory/lowering/values.h"
#include "memory/simulate.h"
#include "workflow/execution_order.h"
#include "workflow/node_catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <map>
#include <unordered_map>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::Node;
using workflow::NodeKind;
using workflow::NodeVerb;

constexpr int kSideMax = 1 << 16;   // pixels: far above what ComfyUI's own nodes accept
constexpr int kBatchMax = 1 << 14;  // ComfyUI's empty latents stop at 4096
constexpr int kStepsMax = 10'000;   // ComfyUI's own limit
constexpr int kPassDepthMax = 16;   // unknown nodes in a row that are seen through

std::uint64_t hash_text(std::uint64_t hash, std::string_view text) {  // FNV-1a
    for (const char c : text) hash = (hash ^ static_cast<unsigned char>(c)) * 0x100000001B3ULL;
    return (hash ^ 0xFFU) * 0x100000001B3ULL;  // "ab" + "c" is not "a" + "bc"
}

std::uint64_t hash_number(std::uint64_t hash, std::uint64_t number) {
    for (int i = 0; i < 8; ++i, number >>= 8U) hash = (hash ^ (number & 0xFFU)) * 0x100000001B3ULL;
    return hash;
}

constexpr std::uint64_t kHashStart = 0xCBF29CE484222325ULL;

int clamped(double value, int low, int high) {
    if (std::isnan(value)) return low;
    return static_cast<int>(std::clamp(value, static_cast<double>(low), static_cast<double>(high)));
}

// The value of a kind that an unknown node must have passed on: the only one it was given.
template <class T>
const T* passed_on(const PassedOn& through, int depth) {
    if (depth > kPassDepthMax) return nullptr;
    const T* only = nullptr;
    for (const Value& value : through.inputs) {
        const T* found = std::get_if<T>(&value.what);
        if (const auto* inner = std::get_if<PassedOn>(&value.what))
            found = passed_on<T>(*inner, depth + 1);
        if (found == nullptr) continue;
        if (only != nullptr) return nullptr;
        only = found;
    }
    return only;
}

class Lowering {
  public:
    Lowering(const workflow::Graph& graph, const BuiltModels& models)
        : graph_(graph), models_(models) {}

    Program run() {
        const auto order = workflow::execution_order(graph_, [&](const Node& node) {
            const NodeKind* kind = workflow::find_node_kind(node.class_type);
            // A type that is not known may be an output; one that nothing reads must be.
            return kind != nullptr ? kind->output_node : !is_read(node);
        });
        for (const auto& fault : graph_.faults) program_.warnings.push_back(fault.message);
        for (const std::uint32_t index : order.nodes) lower_node(graph_.nodes[index]);
        for (const std::uint32_t index : order.unreachable) {
            const Node& node = graph_.nodes[index];
            step(node, UnknownStep{"a cycle of links keeps the node from running"});
        }
        return std::move(program_);
    }

  private:
    struct Outputs {
        std::vector<Value> slots;  // all of one value where there is one only
        std::uint64_t signature = 0;
    };

    // --- reading a node's inputs -------------------------------------------------------------

    bool is_read(const Node& node) {
        if (read_.empty())
            for (const Node& reader : graph_.nodes)
                for (const auto& input : reader.inputs)
                    if (const auto* link = std::get_if<workflow::Link>(&input.value))
                        read_.emplace(link->node_id, true);
        return read_.contains(node.id);
    }

    const Value* linked(const workflow::Link& link) const {
        const auto found = outputs_.find(link.node_id);
        if (found == outputs_.end() || found->second.slots.empty()) return nullptr;
        const auto& slots = found->second.slots;
        const auto slot = static_cast<std::size_t>(std::max(link.slot, 0));
        return &slots[slots.size() == 1 ? 0 : std::min(slot, slots.size() - 1)];
    }

    // The value of a kind on an input; nullptr sets `why_` and leaves it at the first reason.
    template <class T>
    const T* get(const Node& node, std::string_view input) {
        const workflow::Link* link = node.link_of(input);
        const Value* value = link == nullptr ? nullptr : linked(*link);
        if (value == nullptr) {
            missing(fmt::format("{} of node {} ({}) is not connected", input, node.id,
                                node.class_type));
            return nullptr;
        }
        if (const T* found = std::get_if<T>(&value->what)) return found;
        if (const auto* through = std::get_if<PassedOn>(&value->what)) {
            if (const T* found = passed_on<T>(*through, 0)) {
                notes_.push_back(fmt::format("{}: taken to hand its {} on", through->why, input));
                return found;
            }
            missing(through->why);
            return nullptr;
        }
        const auto* nothing = std::get_if<Nothing>(&value->what);
        missing(nothing != nullptr && !nothing->why.empty()
                    ? nothing->why
                    : fmt::format("{} of node {} ({}) is of another kind", input, node.id,
                                  node.class_type));
        return nullptr;
    }

    void missing(std::string why) {
        if (why_.empty()) why_ = std::move(why);
    }

    // A literal, or a number that another node holds.
    std::optional<double> number(const Node& node, std::string_view input) const {
        if (const auto literal = node.number_of(input)) return literal;
        const workflow::Link* link = node.link_of(input);
        const Value* value = link == nullptr ? nullptr : linked(*link);
        if (value == nullptr) return std::nullopt;
        const auto* held = std::get_if<NumberValue>(&value->what);
        return held == nullptr ? std::nullopt : std::optional(held->number);
    }

    std::optional<std::string> text(const Node& node, std::string_view input) const {
        if (const auto literal = node.text_of(input)) return std::string(*literal);
        const workflow::Link* link = node.link_of(input);
        const Value* value = link == nullptr ? nullptr : linked(*link);
        if (value == nullptr) return std::nullopt;
        const auto* held = std::get_if<TextValue>(&value->what);
        return held == nullptr ? std::nullopt : std::optional(held->text);
    }

    // A side, a count... that must be known; nullopt sets `why_`.
    std::optional<int> count(const Node& node, std::string_view input, int low, int high) {
        const auto value = number(node, input);
        if (!value) {
            missing(fmt::format("{} of node {} ({}) is computed by a node that is not evaluated",
                                input, node.id, node.class_type));
            return std::nullopt;
        }
        return clamped(*value, low, high);
    }

    // --- writing steps and outputs -----------------------------------------------------------

    Step& step(const Node& node, decltype(Step::what) what) {
        if (const auto* unknown = std::get_if<UnknownStep>(&what))
            program_.unknown_nodes.push_back(
                fmt::format("{} {}: {}", node.id, node.class_type, unknown->reason));
        program_.steps.push_back({.node_id = node.id,
                                  .class_type = node.class_type,
                                  .what = std::move(what),
                                  .notes = std::move(notes_),
                                  .signature = signature_,
                                  .output_node = output_node_});
        notes_.clear();
        return program_.steps.back();
    }

    // A step that memory cares about but that is not understood, and what comes out of it.
    std::vector<Value> unknown_step(const Node& node) {
        const std::string why = why_.empty() ? std::string("not understood") : why_;
        step(node, UnknownStep{why});
        return {Value{Nothing{why}}};
    }

    // A node without a step of its own whose output is not understood.
    std::vector<Value> nothing() { return {Value{Nothing{why_}}}; }

    std::uint64_t signature_of(const Node& node) const {
        std::vector<const workflow::Input*> inputs;
        inputs.reserve(node.inputs.size());
        for (const auto& input : node.inputs) inputs.push_back(&input);
        std::ranges::sort(inputs, {}, &workflow::Input::name);
        std::uint64_t hash = hash_text(kHashStart, node.class_type);
        for (const auto* input : inputs) {
            hash = hash_number(hash_text(hash, input->name), input->value.index());
            if (const auto* link = std::get_if<workflow::Link>(&input->value)) {
                const auto from = outputs_.find(link->node_id);
                hash = hash_number(hash, from == outputs_.end() ? 0 : from->second.signature);
                hash = hash_number(hash, static_cast<std::uint64_t>(link->slot));
            } else if (const auto* value = std::get_if<workflow::Number>(&input->value)) {
                hash = hash_text(hash, value->text);
            } else if (const auto* word = std::get_if<std::string>(&input->value)) {
                hash = hash_text(hash, *word);
            } else if (const auto* flag = std::get_if<bool>(&input->value)) {
                hash = hash_number(hash, *flag ? 1 : 0);
            } else {
                // Kept as bytes only: other bytes elsewhere count as another value.
                hash = hash_number(hash, input->span.begin);
            }
        }
        return hash;
    }

    void lower_node(const Node& node) {
        why_.clear();
        notes_.clear();
        signature_ = signature_of(node);
        const NodeKind* kind = workflow::find_node_kind(node.class_type);
        output_node_ = kind == nullptr || kind->output_node;
        std::vector<Value> values;
        if (kind == nullptr)
            values = lower_unknown(node);
        else if (const auto twin = twins_.find(signature_);
                 twin != twins_.end() && !kind->output_node)
            values = outputs_[twin->second].slots;  // ComfyUI's cache answers for an equal node
        else
            values = lower_known(node, *kind);
        twins_.emplace(signature_, node.id);
        outputs_.insert_or_assign(node.id, Outputs{std::move(values), signature_});
    }

    std::vector<Value> lower_unknown(const Node& node) {
        PassedOn through;
        through.why = fmt::format("node {} ({}) is not known", node.id, node.class_type);
        for (const auto& input : node.inputs)
            if (const auto* link = std::get_if<workflow::Link>(&input.value))
                if (const Value* value = linked(*link)) through.inputs.push_back(*value);
        step(node, UnknownStep{"the node type is not known"});
        return {Value{std::move(through)}};
    }

    std::vector<Value> lower_known(const Node& node, const NodeKind& kind) {
        switch (kind.verb) {
            using enum NodeVerb;
            case Compute:
                step(node, CpuStep{});
                return {Value{Nothing{}}};
            case Pass:
                return pass(node, kind);
            case Constant:
                return constant(node);
            case Patch:
                return patch(node, kind);
            case LoadCheckpoint:
                return load_checkpoint(node, kind);
            case LoadUnet:
                return load(node, ModelRole::Unet, {"unet_name"});
            case LoadClip:
                return load(node, ModelRole::TextEncoder, kind.files);
            case LoadVae:
                return load(node, ModelRole::Vae, {"vae_name"});
            case LoadControlNet:
                return load(node, ModelRole::ControlNet, {"control_net_name"});
            case EncodeText:
                return encode_text(node, kind);
            case CombineConditioning:
                return combine(node);
            case ConcatConditioning:
                return concat(node);
            case ApplyControlNet:
                return apply_controlnet(node, kind);
            case EncodeConditioning:
                return encode_conditioning(node, kind);
            case EmptyLatent:
                return empty_latent(node, kind);
            case ResizeLatent:
            case ScaleLatent:
            case RepeatLatent:
            case TakeLatents:
            case JoinLatents:
                return change_latent(node, kind);
            case Sample:
                return sample(node, kind);
            case ChooseSampler:
                return {Value{SamplerValue{text(node, "sampler_name").value_or("euler")}}};
            case Schedule:
                return schedule(node);
            case Guide:
                return guide(node, kind);
            case VaeDecode:
            case VaeEncode:
                return vae(node, kind);
            case LoadImage:
                why_ = fmt::format("the size of the image of node {} is not known", node.id);
                return nothing();
            case EmptyImage:
            case ResizeImage:
            case ScaleImage:
            case FitImage:
            case PadImage:
            case RepeatImage:
                return change_image(node, kind);
        }
        return nothing();
    }

    // --- models ------------------------------------------------------------------------------

    std::vector<Value> pass(const Node& node, const NodeKind& kind) {
        std::vector<Value> values;
        for (const std::string& input : kind.outputs) {
            const workflow::Link* link = node.link_of(input);
            const Value* value = link == nullptr ? nullptr : linked(*link);
            values.push_back(value != nullptr ? *value : Value{Nothing{}});
        }
        return values;
    }

    std::vector<Value> constant(const Node& node) {
        if (const auto literal = node.number_of("value")) return {Value{NumberValue{*literal}}};
        if (const auto literal = node.text_of("value"))
            return {Value{TextValue{std::string(*literal)}}};
        return {Value{Nothing{}}};
    }

    std::vector<Value> patch(const Node& node, const NodeKind& kind) {
        std::vector<Value> values = pass(node, kind);
        for (std::size_t slot = 0; slot < values.size(); ++slot) {
            auto* model = std::get_if<ModelValue>(&values[slot].what);
            const bool clip = kind.outputs[slot] == "clip";
            const auto strength = number(node, clip ? "strength_clip" : "strength_model");
            if (model == nullptr || strength == 0.0) continue;  // ComfyUI leaves it alone too
            model->use.patch_id = hash_number(signature_, slot + 1);
            ++model->use.loras;
        }
        return values;
    }

    ModelIndex add_model(ProgramModel model) {
        program_.models.push_back(std::move(model));
        return static_cast<ModelIndex>(program_.models.size()) - 1;
    }

    // The part of a file that plays a role; why_unknown says what is missing.
    ProgramModel model_of(const std::vector<std::string>& files, ModelRole role) {
        ProgramModel model;
        model.role = role;
        model.files = files;
        for (const std::string& file : files) {
            const auto built = models_.find(file);
            const bool has = built != nullptr &&
                             ((role == ModelRole::Unet && built->unet != nullptr) ||
                              (role == ModelRole::Vae && built->vae != nullptr) ||
                              (role == ModelRole::ControlNet && built->controlnet != nullptr) ||
                              (role == ModelRole::TextEncoder && !built->text_encoders.empty()));
            model.built.push_back(built);
            if (has || !model.why_unknown.empty()) continue;
            if (built == nullptr)
                model.why_unknown = fmt::format("the file {} was not seen", file);
            else if (!built->notes.empty())
                model.why_unknown = fmt::format("{}: {}", file, built->notes.front());
            else
                model.why_unknown =
                    fmt::format("{} holds no {} that is known", file, model_role_name(role));
        }
        if (files.empty()) model.why_unknown = "the loader names no file";
        return model;
    }

    static Value model_value(ModelIndex index, ModelRole role) {
        return Value{ModelValue{{.model = index, .patch_id = 0, .loras = 0}, role}};
    }

    std::vector<Value> load_checkpoint(const Node& node, const NodeKind& kind) {
        const std::string file = text(node, kind.input_of("ckpt_name")).value_or("");
        LoadStep load;
        std::vector<Value> values;
        for (const ModelRole role : {ModelRole::Unet, ModelRole::TextEncoder, ModelRole::Vae}) {
            const ModelIndex index = add_model(model_of({file}, role));
            load.models.push_back(index);
            values.push_back(model_value(index, role));
        }
        step(node, std::move(load));
        return values;
    }

    std::vector<Value> load(const Node& node, ModelRole role,
                            const std::vector<std::string>& inputs) {
        std::vector<std::string> files;
        for (const std::string& input : inputs)
            if (auto file = text(node, input)) files.push_back(std::move(*file));
        ProgramModel model = model_of(files, role);
        if (const auto dtype = text(node, "weight_dtype"); dtype && *dtype != "default") {
            model.forced_storage =
                dtype->starts_with("fp8_e5m2") ? ComputeType::Float8E5M2 : ComputeType::Float8E4M3;
        }
        const ModelIndex index = add_model(std::move(model));
        step(node, LoadStep{{index}});
        return {model_value(index, role)};
    }

    // --- conditionings -----------------------------------------------------------------------

    std::vector<Value> encode_text(const Node& node, const NodeKind& kind) {
        const auto* clip = get<ModelValue>(node, "clip");
        if (clip == nullptr) return unknown_step(node);
        TextEncodeStep encode{.text_encoder = clip->use, .chunks = 1, .rows = 1};
        bool weighted = false;
        for (const std::string& input : kind.texts) {
            const auto prompt = text(node, input);
            if (!prompt)
                notes_.push_back(fmt::format("{} is made by a node: taken as short", input));
            const PromptLength length = estimate_prompt_length(prompt.value_or(""));
            encode.chunks = std::max(encode.chunks, length.chunks);
            weighted = weighted || length.weighted;
        }
        encode.rows = encode.chunks + (weighted ? 1 : 0);
        constexpr int kChunk = 77;
        ConditioningValue conditioning{{{.tokens = encode.chunks * kChunk, .controlnets = {}}}};
        step(node, encode);
        return {Value{std::move(conditioning)}};
    }

    std::vector<Value> combine(const Node& node) {
        const auto* first = get<ConditioningValue>(node, "conditioning_1");
        const auto* second = get<ConditioningValue>(node, "conditioning_2");
        if (first == nullptr || second == nullptr) return nothing();
        ConditioningValue both = *first;
        constexpr std::size_t kConditionsMax = 1024;  // chosen: no graph draws as many
        for (const ConditionUse& condition : second->conditions)
            if (both.conditions.size() < kConditionsMax) both.conditions.push_back(condition);
        return {Value{std::move(both)}};
    }

    std::vector<Value> concat(const Node& node) {
        const auto* to = get<ConditioningValue>(node, "conditioning_to");
        const auto* from = get<ConditioningValue>(node, "conditioning_from");
        if (to == nullptr || from == nullptr) return nothing();
        ConditioningValue longer = *to;
        constexpr int kTokensMax = 1 << 20;
        if (!from->conditions.empty())
            for (ConditionUse& condition : longer.conditions)
                condition.tokens =
                    std::min(kTokensMax, condition.tokens + from->conditions.front().tokens);
        return {Value{std::move(longer)}};
    }

    std::vector<Value> apply_controlnet(const Node& node, const NodeKind& kind) {
        const auto* control = get<ModelValue>(node, "control_net");
        const bool applies = number(node, "strength") != 0.0;
        std::vector<Value> values;
        for (const std::string& input : kind.outputs) {
            const auto* conditioning = get<ConditioningValue>(node, input);
            if (conditioning == nullptr || control == nullptr) {
                values.push_back(Value{Nothing{why_}});
                continue;
            }
            ConditioningValue with = *conditioning;
            for (ConditionUse& condition : with.conditions) {
                if (!applies) break;
                condition.controlnets.push_back(control->use.model);
                condition.control_id = hash_number(signature_, condition.control_id);
            }
            values.push_back(Value{std::move(with)});
        }
        return values;
    }

    std::vector<Value> encode_conditioning(const Node& node, const NodeKind& kind) {
        const auto* vae = get<ModelValue>(node, "vae");
        const auto* pixels = get<ImageShape>(node, "pixels");
        std::vector<Value> values = pass(node, kind);
        if (vae == nullptr || pixels == nullptr) {
            values.back() = unknown_step(node).front();
            return values;
        }
        step(node, VaeStep{.vae = vae->use, .direction = VaeDirection::Encode, .image = *pixels});
        values.back() = Value{latent_of(*pixels)};
        return values;
    }

    // --- latents and images ------------------------------------------------------------------

    static LatentShape latent_of(const ImageShape& image) {
        constexpr int kPixelsPerCell = 8;
        return {.batch = image.batch,
                .channels = 4,
                .frames = 1,
                .height = std::max(1, image.height / kPixelsPerCell),
                .width = std::max(1, image.width / kPixelsPerCell)};
    }

    std::vector<Value> empty_latent(const Node& node, const NodeKind& kind) {
        const auto width = count(node, kind.input_of("width"), 1, kSideMax);
        const auto height = count(node, kind.input_of("height"), 1, kSideMax);
        const auto batch = count(node, kind.input_of("batch_size"), 1, kBatchMax);
        if (!width || !height || !batch) return nothing();
        return {Value{LatentShape{.batch = *batch,
                                  .channels = kind.channels,
                                  .frames = 1,
                                  .height = std::max(1, *height / kind.pixels_per_cell),
                                  .width = std::max(1, *width / kind.pixels_per_cell)}}};
    }

    std::vector<Value> change_latent(const Node& node, const NodeKind& kind) {
        const bool join = kind.verb == NodeVerb::JoinLatents;
        const auto* samples = get<LatentShape>(node, join ? "samples1" : "samples");
        if (samples == nullptr) return nothing();
        LatentShape latent = *samples;
        constexpr int kPixelsPerCell = 8;
        const auto scaled = [](int side, double by) {
            return clamped(std::round(side * by), 1, kSideMax);
        };
        switch (kind.verb) {
            case NodeVerb::ResizeLatent: {
                const auto width = count(node, "width", 0, kSideMax);
                const auto height = count(node, "height", 0, kSideMax);
                if (!width || !height) return nothing();
                // 0: as the other side asks, in proportion.
                const double ratio = static_cast<double>(latent.width) / latent.height;
                const int w = *width / kPixelsPerCell;
                const int h = *height / kPixelsPerCell;
                if (w > 0 || h > 0) {
                    latent.width = w > 0 ? w : scaled(h, ratio);
                    latent.height = h > 0 ? h : scaled(w, 1 / ratio);
                }
                break;
            }
            case NodeVerb::ScaleLatent: {
                const auto by = number(node, "scale_by");
                if (!by) {
                    missing(fmt::format("scale_by of node {} is not known", node.id));
                    return nothing();
                }
                latent.width = scaled(latent.width, *by);
                latent.height = scaled(latent.height, *by);
                break;
            }
            case NodeVerb::RepeatLatent:
                latent.batch =
                    clamped(static_cast<double>(latent.batch) * number(node, "amount").value_or(1),
                            1, kBatchMax);
                break;
            case NodeVerb::TakeLatents: {
                const auto length = count(node, "length", 1, kBatchMax);
                const int from =
                    clamped(number(node, "batch_index").value_or(0), 0, latent.batch - 1);
                latent.batch = std::min(length.value_or(latent.batch), latent.batch - from);
                break;
            }
            default: {
                const auto* more = get<LatentShape>(node, "samples2");
                if (more == nullptr) return nothing();
                latent.batch = std::min(kBatchMax, latent.batch + more->batch);
            }
        }
        return {Value{latent}};
    }

    std::vector<Value> change_image(const Node& node, const NodeKind& kind) {
        ImageShape image;
        if (kind.verb == NodeVerb::EmptyImage) {
            const auto width = count(node, "width", 1, kSideMax);
            const auto height = count(node, "height", 1, kSideMax);
            const auto batch = count(node, "batch_size", 1, kBatchMax);
            if (!width || !height || !batch) return nothing();
            return {Value{ImageShape{*batch, *height, *width}}};
        }
        const auto* given = get<ImageShape>(node, "image");
        const auto width = number(node, "width");
        const auto height = number(node, "height");
        if (kind.verb == NodeVerb::ResizeImage && width && height && *width > 0 && *height > 0) {
            // The size is said; only the batch depends on what came in.
            const int batch = given != nullptr ? given->batch : 1;
            why_.clear();
            return {Value{
                ImageShape{batch, clamped(*height, 1, kSideMax), clamped(*width, 1, kSideMax)}}};
        }
        if (given == nullptr) return nothing();
        image = *given;
        const auto scale = [&](double by) {
            image.height = clamped(std::round(image.height * by), 1, kSideMax);
            image.width = clamped(std::round(image.width * by), 1, kSideMax);
        };
        switch (kind.verb) {
            case NodeVerb::ScaleImage:
                scale(number(node, "scale_by").value_or(1));
                break;
            case NodeVerb::FitImage: {
                constexpr double kMegapixel = 1024.0 * 1024.0;
                const double now = static_cast<double>(image.height) * image.width;
                scale(std::sqrt(number(node, "megapixels").value_or(1) * kMegapixel / now));
                break;
            }
            case NodeVerb::PadImage: {
                const auto more = [&](const char* side) { return number(node, side).value_or(0); };
                image.width = clamped(image.width + more("left") + more("right"), 1, kSideMax);
                image.height = clamped(image.height + more("top") + more("bottom"), 1, kSideMax);
                break;
            }
            case NodeVerb::RepeatImage:
                image.batch =
                    clamped(static_cast<double>(image.batch) * number(node, "amount").value_or(1),
                            1, kBatchMax);
                break;
            default: {  // ResizeImage with a side of 0, or with none said
                const double w = width.value_or(0);
                const double h = height.value_or(0);
                if (w > 0) scale(w / image.width);
                if (h > 0) scale(h / image.height);
            }
        }
        return {Value{image}};
    }

    std::vector<Value> vae(const Node& node, const NodeKind& kind) {
        const bool decode = kind.verb == NodeVerb::VaeDecode;
        const auto* vae = get<ModelValue>(node, "vae");
        VaeStep what;
        what.direction = decode ? VaeDirection::Decode : VaeDirection::Encode;
        constexpr int kPixelsPerCell = 8;
        if (decode) {
            const auto* samples = get<LatentShape>(node, "samples");
            if (samples != nullptr)
                what.image = {samples->batch, samples->height * kPixelsPerCell,
                              samples->width * kPixelsPerCell};
        } else if (const auto* pixels = get<ImageShape>(node, "pixels")) {
            // ComfyUI cuts an image to whole cells.
            what.image = {pixels->batch, pixels->height / kPixelsPerCell * kPixelsPerCell,
                          pixels->width / kPixelsPerCell * kPixelsPerCell};
        }
        if (vae == nullptr || what.image.height < 1 || what.image.width < 1) {
            missing("the image is smaller than a latent cell");
            return unknown_step(node);
        }
        what.vae = vae->use;
        what.tiled = kind.tiled;
        if (kind.tiled) {
            what.tile_size = clamped(number(node, "tile_size").value_or(what.tile_size), 64, 4096);
            what.overlap = clamped(number(node, "overlap").value_or(what.overlap), 0, 4096);
        }
        const ImageShape image = what.image;
        step(node, what);
        return {decode ? Value{image} : Value{latent_of(image)}};
    }

    // --- sampling ----------------------------------------------------------------------------

    std::vector<Value> schedule(const Node& node) {
        const auto steps = count(node, "steps", 0, kStepsMax);
        if (!steps) return nothing();
        return {Value{ScheduleValue{text(node, "scheduler").value_or(node.class_type), *steps}}};
    }

    std::vector<Value> guide(const Node& node, const NodeKind& kind) {
        const auto* model = get<ModelValue>(node, "model");
        const auto* positive = get<ConditioningValue>(node, kind.input_of("positive"));
        if (model == nullptr || positive == nullptr) return nothing();
        GuideValue value{
            .model = *model, .positive = positive->conditions, .negative = {}, .cfg = 1.0};
        if (node.link_of("negative") != nullptr) {
            const auto* negative = get<ConditioningValue>(node, "negative");
            if (negative == nullptr) return nothing();
            value.negative = negative->conditions;
            value.cfg = number(node, "cfg").value_or(value.cfg);
        }
        return {Value{std::move(value)}};
    }

    std::vector<Value> sample(const Node& node, const NodeKind& kind) {
        SampleStep what;
        const bool guided = node.link_of("guider") != nullptr;
        bool sound = guided ? take_guider(node, what) : take_conditions(node, what);
        sound = take_steps(node, kind, what) && sound;
        const auto* latent = get<LatentShape>(node, "latent_image");
        if (!sound || latent == nullptr) {
            std::vector<Value> values = unknown_step(node);
            // Another sampler or a decode after it may still know the size.
            if (latent != nullptr) values.front() = Value{*latent};
            return values;
        }
        what.latent = *latent;
        const LatentShape shape = what.latent;
        step(node, std::move(what));
        return {Value{shape}};
    }

    bool take_guider(const Node& node, SampleStep& what) {
        const auto* guide = get<GuideValue>(node, "guider");
        if (guide == nullptr) return false;
        what.unet = guide->model.use;
        what.positive = guide->positive;
        what.negative = guide->negative;
        what.cfg = guide->cfg;
        return true;
    }

    bool take_conditions(const Node& node, SampleStep& what) {
        const auto* model = get<ModelValue>(node, "model");
        const auto* positive = get<ConditioningValue>(node, "positive");
        const auto* negative = get<ConditioningValue>(node, "negative");
        if (model == nullptr || positive == nullptr || negative == nullptr) return false;
        what.unet = model->use;
        what.positive = positive->conditions;
        what.negative = negative->conditions;
        if (const auto cfg = number(node, "cfg"))
            what.cfg = *cfg;
        else
            notes_.emplace_back("cfg is computed in the graph: taken as above 1");
        if (!number(node, "cfg")) what.cfg = 7.0;  // ComfyUI's usual value: both conditions run
        return true;
    }

    bool take_steps(const Node& node, const NodeKind& kind, SampleStep& what) {
        if (node.link_of("sigmas") != nullptr) {  // a custom sampler
            const auto* schedule = get<ScheduleValue>(node, "sigmas");
            const auto* sampler = get<SamplerValue>(node, "sampler");
            what.steps = schedule != nullptr ? schedule->steps : 20;
            what.scheduler = schedule != nullptr ? schedule->scheduler : "";
            what.sampler = sampler != nullptr ? sampler->sampler : "";
            if (schedule == nullptr || sampler == nullptr) {
                // Steps and sampler are time; the peak does not depend on them.
                notes_.push_back(why_ + ": taken as 20 steps of one forward");
                why_.clear();
            }
            return true;
        }
        what.sampler = text(node, "sampler_name").value_or("");
        what.scheduler = text(node, "scheduler").value_or("");
        const auto steps = number(node, "steps");
        if (!steps) notes_.emplace_back("steps is computed in the graph: taken as 20");
        what.steps = clamped(steps.value_or(20), 0, kStepsMax);
        // A denoise below 1 takes the last `steps` of a longer schedule; ComfyUI's threshold.
        const double denoise = number(node, "denoise").value_or(1.0);
        if (denoise > 0.9999)
            what.steps = scheduled_steps(what.scheduler, what.sampler, what.steps);
        if (denoise <= 0) what.steps = 0;
        const int first =
            clamped(number(node, kind.input_of("first_step")).value_or(0), 0, what.steps);
        const int last = clamped(number(node, kind.input_of("last_step")).value_or(what.steps),
                                 first, what.steps);
        const bool stops_early = last < what.steps;
        if (stops_early && text(node, "return_with_leftover_noise") == "enable")
            what.ending = Ending::LeftoverNoise;
        what.steps = last - first;
        return true;
    }

    const workflow::Graph& graph_;
    const BuiltModels& models_;
    Program program_;
    std::unordered_map<std::string, Outputs> outputs_;      // by node id
    std::unordered_map<std::uint64_t, std::string> twins_;  // first node of a signature
    std::unordered_map<std::string, bool> read_;            // node ids that a link names
    // Of the node at hand:
    std::string why_;
    std::vector<std::string> notes_;
    std::uint64_t signature_ = 0;
    bool output_node_ = false;
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
