// SPDX-License-Identifier: Apache-2.0
#include "simulator/prompt/node_catalogue.h"

#include "base/check.h"
#include "simulator/card/recorded.h"

#include <array>
#include <optional>
#include <utility>

namespace plimsoll::simulator {

namespace {

// Which folder a list of files comes from; the recording has them empty.
std::optional<std::string_view> folder_of(std::string_view node, std::string_view input) {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 16> kFolders{{
        {"ckpt_name", "checkpoints"},
        {"lora_name", "loras"},
        {"unet_name", "diffusion_models"},
        {"control_net_name", "controlnet"},
        {"style_model_name", "style_models"},
        {"gligen_name", "gligen"},
        {"hypernetwork_name", "hypernetworks"},
        {"photomaker_model_name", "photomaker"},
        {"audio_encoder_name", "audio_encoders"},
        {"vae_name", "vae"},
        {"clip_name1", "text_encoders"},
        {"clip_name2", "text_encoders"},
        {"clip_name3", "text_encoders"},
        {"clip_name4", "text_encoders"},
        {"model_path", "diffusers"},
        {"clip_name", "text_encoders"},
    }};
    if (node == "CLIPVisionLoader") return "clip_vision";
    if (node == "UpscaleModelLoader" && input == "model_name") return "upscale_models";
    if (node == "LatentUpscaleModelLoader" && input == "model_name") return "latent_upscale_models";
    if (node == "ModelPatchLoader" && input == "name") return "model_patches";
    if ((node == "LoadImage" || node == "LoadImageMask") && input == "image") return "input";
    for (const auto& [name, folder] : kFolders)
        if (name == input) return folder;
    return std::nullopt;
}

InputSpec read_input(const std::string& name, const Value& spec, bool required) {
    InputSpec input{.name = name, .type = {}, .options = {}, .required = required};
    const List* const parts = spec.as_list();
    if (parts == nullptr || parts->empty()) return input;
    input.type = parts->front();
    if (parts->size() > 1 && (*parts)[1].as_dict() != nullptr)
        input.options = *(*parts)[1].as_dict();
    const Value* const lazy = input.options.find("lazy");
    input.lazy = lazy != nullptr && lazy->truthy();
    return input;
}

List to_list(const std::vector<std::string>& names) {
    List list;
    for (const std::string& name : names) list.emplace_back(name);
    return list;
}

// The nodes that the recordings used on top of ComfyUI's own, to make failures happen on purpose.
constexpr std::string_view kFixtureNodes = R"({
 "FixtureRaise": {"input": {"required": {"image": ["IMAGE"], "kind": [["ValueError",
   "RuntimeError_multiline", "assert_empty", "custom_exception", "memory_error",
   "runtime_cpu_alloc", "accelerator_oom", "torch_oom_native", "torch_oom_async",
   "interrupt"]]}},
   "output": ["IMAGE"], "output_node": false},
 "FixtureSleep": {"input": {"required": {"image": ["IMAGE"], "seconds": ["FLOAT",
   {"default": 1.0}]}}, "output": ["IMAGE"], "output_node": false},
 "FixtureText": {"input": {"required": {"image": ["IMAGE"], "text": ["STRING",
   {"default": ""}]}}, "output": ["IMAGE"], "output_node": false},
 "FixtureBadIsChanged": {"input": {"required": {"image": ["IMAGE"]}}, "output": ["IMAGE"],
   "output_node": false}})";

}  // namespace

bool InputSpec::is_combo() const {
    return type.as_list() != nullptr || (type.as_str() != nullptr && *type.as_str() == "COMBO");
}

const List* InputSpec::choices() const {
    if (const List* const list = type.as_list()) return list;
    const Value* const choice = options.find("options");
    return choice == nullptr ? nullptr : choice->as_list();
}

NodeCatalogue::NodeCatalogue(FolderLister lister, bool fixtures) : lister_(std::move(lister)) {
    const auto recorded = parse_python_json(recorded_object_info());
    CHECK(recorded && recorded->as_dict() != nullptr);
    for (const auto& [name, entry] : *recorded->as_dict()) add(name, *entry.as_dict(), true);
    if (!fixtures) return;
    const auto extra = parse_python_json(kFixtureNodes);
    CHECK(extra && extra->as_dict() != nullptr);
    for (const auto& [name, entry] : *extra->as_dict()) add(name, *entry.as_dict(), false);
}

void NodeCatalogue::add(const std::string& name, const Dict& entry, bool listed) {
    NodeClass node{.name = name, .entry = entry, .inputs = {}, .outputs = {}, .listed = listed};
    const Value* const inputs = entry.find("input");
    for (const auto* const kind : {"required", "optional"}) {
        const Value* const some = inputs == nullptr ? nullptr : inputs->get(kind);
        if (some == nullptr || some->as_dict() == nullptr) continue;
        for (const auto& [input, spec] : *some->as_dict())
            node.inputs.push_back(read_input(input, spec, std::string_view(kind) == "required"));
    }
    if (const Value* const outputs = entry.find("output"); outputs && outputs->as_list())
        node.outputs = *outputs->as_list();
    const Value* const output_node = entry.find("output_node");
    node.is_output = output_node != nullptr && output_node->truthy();
    if (listed) order_.push_back(name);
    classes_.emplace(name, std::move(node));
}

const NodeClass* NodeCatalogue::find(std::string_view class_name) const {
    const auto found = classes_.find(class_name);
    return found == classes_.end() ? nullptr : &found->second;
}

std::vector<InputSpec> NodeCatalogue::inputs_of(const NodeClass& node) const {
    std::vector<InputSpec> inputs = node.inputs;
    for (InputSpec& input : inputs) {
        const auto folder = input.is_combo() ? folder_of(node.name, input.name) : std::nullopt;
        if (!folder) continue;
        List names = to_list(lister_(*folder));
        if (*folder == "vae") names.emplace_back("pixel_space");
        if (input.type.as_list() != nullptr)
            input.type = std::move(names);
        else
            input.options.set("options", std::move(names));
    }
    return inputs;
}

Dict NodeCatalogue::filled_entry(const NodeClass& node) const {
    Dict input;
    const Value* const recorded = node.entry.find("input");
    const std::vector<InputSpec> filled = inputs_of(node);
    for (const auto& [kind, some] : *recorded->as_dict()) {
        Dict kept = *some.as_dict();
        for (const InputSpec& one : filled) {
            Value* const spec = kept.find(one.name);
            if (spec == nullptr || kind == "hidden" || !one.is_combo()) continue;
            List parts{one.type};
            if (spec->as_list()->size() > 1) parts.emplace_back(one.options);
            *spec = std::move(parts);
        }
        input.set(kind, std::move(kept));
    }
    // The order of ComfyUI's own answer. Descriptions are left out of the recording.
    Dict entry{{"input", Value(std::move(input))}};
    const auto copy = [&](const char* key) {
        if (const Value* const value = node.entry.find(key)) entry.set(key, *value);
    };
    for (const auto* const key :
         {"input_order", "output", "output_is_list", "output_name", "name", "display_name"})
        copy(key);
    entry.set("description", "");
    entry.set("python_module",
              node.name == "SaveImageWebsocket" ? "custom_nodes.websocket_image_save" : "nodes");
    copy("category");
    copy("output_node");
    for (const auto* const key : {"deprecated", "experimental", "api_node"}) copy(key);
    return entry;
}

Dict NodeCatalogue::object_info(std::string_view class_name) const {
    Dict info;
    const NodeClass* const node = find(class_name);
    if (node != nullptr && node->listed) info.set(node->name, filled_entry(*node));
    return info;
}

Dict NodeCatalogue::object_info() const {
    Dict info;
    for (const std::string& name : order_) info.set(name, filled_entry(classes_.at(name)));
    return info;
}

}  // namespace plimsoll::simulator
