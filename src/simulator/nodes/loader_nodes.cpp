// SPDX-License-Identifier: Apache-2.0
//
// Nodes that bring models: checkpoints and their parts, LoRA, ControlNet, upscalers.
#include "simulator/nodes/card_work.h"
#include "simulator/nodes/registry.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::simulator {

namespace {

// Buffers of the model wrapper that are no modules: the schedule of sigmas, and for SDXL the noise
// augmentor (recorded: size of the loaded model less its modules).
constexpr std::int64_t kScheduleBytes = 8000;
constexpr std::int64_t kScheduleBytesXl = 40000;
constexpr std::int64_t kHiddenBytesXl = 10240;
constexpr std::int64_t kTextScaleBytes = 4;  // logit_scale of each text encoder

// should_use_fp16 and its like of comfy/model_management.py.
bool computes_in_fp16(const CardSpec& card) {
    if (card.compute_capability >= 80) return true;
    if (card.compute_capability < 70) return false;
    for (const std::string_view slow : {"1660", "1650", "1630", "T500", "T550", "T600", "MX550",
                                        "MX450", "CMP 30HX", "T2000", "T1000", "T1200"})
        if (card.name.contains(slow)) return false;
    return true;
}
bool has_bf16(const CardSpec& card) {
    return card.compute_capability >= 80;
}

std::unexpected<NodeFailure> no_such_file(std::string_view folder, const std::string& name) {
    return raise("FileNotFoundError",
                 fmt::format("Model in folder '{}' with filename '{}' not found.", folder, name));
}

ModelValue build_unet(NodeContext& context, const ModelFile& file) {
    const Machine& machine = context.machine;
    ModelValue model{.patcher = {},
                     .network = file.unet,
                     .name = file.name,
                     .element_bytes = 2,
                     .factor = file.is_xl() ? 0.8 : 1.0,
                     .share = file.share,
                     .native_side = file.native_side,
                     .forward_seconds = file.forward_seconds,
                     .forward_seconds_per_cell = file.forward_seconds_per_cell};
    const int stored = machine.flags.fp32 ? 4 : 2;
    if (machine.flags.fp32 || !computes_in_fp16(machine.card)) model.element_bytes = 4;
    model.patcher.weights =
        make_weights("unet:" + file.name, {file.unet}, stored,
                     file.is_xl() ? kScheduleBytesXl : kScheduleBytes, file.share);
    Weights& weights = *model.patcher.weights;
    if (file.is_xl()) weights.hidden_bytes = kHiddenBytesXl;
    if (machine.flags.vram_state == VramState::HighVram) weights.offload_device = Device::Gpu;
    if (!machine.has_gpu()) weights.load_device = Device::Cpu;
    return model;
}

ClipValue build_text_encoder(NodeContext& context, const std::vector<std::string>& networks,
                             const std::string& name) {
    const Machine& machine = context.machine;
    ClipValue clip{.patcher = {}, .networks = networks, .name = name};
    clip.patcher.weights =
        make_weights("text:" + name, networks, machine.flags.fp32 ? 4 : 2,
                     kTextScaleBytes * static_cast<std::int64_t>(networks.size()));
    Weights& weights = *clip.patcher.weights;
    const VramState state = machine.flags.vram_state;
    const bool on_gpu = (state == VramState::Normal || state == VramState::HighVram) &&
                        (machine.flags.gpu_only || computes_in_fp16(machine.card));
    if (!on_gpu) weights.load_device = Device::Cpu;
    if (machine.flags.gpu_only) weights.offload_device = Device::Gpu;
    return clip;
}

VaeValue build_vae(NodeContext& context, const ModelFile& file) {
    const Machine& machine = context.machine;
    VaeValue vae{.patcher = {}, .element_bytes = 4, .share = file.share < 1 ? 0.05 : 1};
    if (machine.flags.vae_element_bytes != 0)
        vae.element_bytes = machine.flags.vae_element_bytes;
    else if (has_bf16(machine.card) && machine.has_gpu() && !machine.flags.fp32)
        vae.element_bytes = 2;
    vae.patcher.weights =
        make_weights("vae:" + file.name, {file.vae}, vae.element_bytes, 0, vae.share);
    Weights& weights = *vae.patcher.weights;
    if (!machine.has_gpu() || machine.flags.cpu_vae) weights.load_device = Device::Cpu;
    if (machine.flags.gpu_only) weights.offload_device = Device::Gpu;
    return vae;
}

// A model that is built on the card is loaded there in full at once.
NodeStep settle(NodeContext& context, const Patcher& patcher, Device device) {
    Machine& machine = context.machine;
    if (!machine.manager.place(patcher.weights, device))
        return raise_out_of_memory(machine.memory.out_of_memory(patcher.weights->size_bytes).text);
    if (device == Device::Gpu && patcher.weights->load_device == Device::Gpu)
        return load_models(context, {.models = {patcher}, .force_full_load = true});
    return {};
}

NodeOutcome checkpoint_loader(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("ckpt_name");
    const ModelFile* const file = context.files.find("checkpoints", name);
    if (file == nullptr) return no_such_file("checkpoints", name);
    Machine& machine = context.machine;
    if (!machine.read_file(file->name, file->bytes)) return stopped();
    ModelValue model = build_unet(context, *file);
    ClipValue clip = build_text_encoder(context, file->text, file->name);
    VaeValue vae = build_vae(context, *file);
    // The order of the real loader: the UNet is built before the text encoder decides.
    const Device unet_at = machine.manager.first_device_of_unet(*model.patcher.weights);
    if (!machine.manager.place(model.patcher.weights, unet_at))
        return raise_out_of_memory(
            machine.memory.out_of_memory(model.patcher.weights->size_bytes).text);
    PLIMSOLL_STEP(settle(context, clip.patcher,
                         machine.manager.first_device_of_text_encoder(*clip.patcher.weights)));
    if (unet_at == Device::Gpu)
        PLIMSOLL_STEP(load_models(context, {.models = {model.patcher}, .force_full_load = true}));
    return NodeResult{{std::move(model), std::move(clip), std::move(vae)}, std::nullopt};
}

NodeOutcome unet_loader(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("unet_name");
    const ModelFile* const file = context.files.find("diffusion_models", name);
    if (file == nullptr) return no_such_file("diffusion_models", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    return NodeResult{{build_unet(context, *file)}, std::nullopt};
}

NodeOutcome vae_loader(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("vae_name");
    const ModelFile* const file = context.files.find("vae", name);
    if (file == nullptr) return no_such_file("vae", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    return NodeResult{{build_vae(context, *file)}, std::nullopt};
}

NodeOutcome load_text_encoders(NodeContext& context, const std::vector<std::string>& names) {
    std::vector<std::string> networks;
    std::string all;
    for (const std::string& name : names) {
        const ModelFile* const file = context.files.find("text_encoders", name);
        if (file == nullptr) return no_such_file("text_encoders", name);
        if (!context.machine.read_file(file->name, file->bytes)) return stopped();
        networks.insert(networks.end(), file->text.begin(), file->text.end());
        all += (all.empty() ? "" : "+") + file->name;
    }
    ClipValue clip = build_text_encoder(context, networks, all);
    PLIMSOLL_STEP(
        settle(context, clip.patcher,
               context.machine.manager.first_device_of_text_encoder(*clip.patcher.weights)));
    return NodeResult{{std::move(clip)}, std::nullopt};
}
NodeOutcome clip_loader(NodeContext& context, const NodeInputs& inputs) {
    return load_text_encoders(context, {inputs.text("clip_name")});
}
NodeOutcome dual_clip_loader(NodeContext& context, const NodeInputs& inputs) {
    return load_text_encoders(context, {inputs.text("clip_name1"), inputs.text("clip_name2")});
}

NodeOutcome clip_set_last_layer(NodeContext&, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(clip, ClipValue, "clip", "clone");
    return NodeResult{{clip}, std::nullopt};
}

// The clone of a model with one more set of patches; the weights are shared.
template <class T>
T patched(NodeContext& context, const T& model) {
    T clone = model;
    clone.patcher.patches = ++context.patch_counter;
    return clone;
}

NodeOutcome lora_loader(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(model, ModelValue, "model", "clone");
    PLIMSOLL_LINKED(clip, ClipValue, "clip", "clone");
    const double strength_model = inputs.number("strength_model");
    const double strength_clip = inputs.number("strength_clip");
    if (strength_model == 0 && strength_clip == 0) return NodeResult{{model, clip}, std::nullopt};
    const std::string name = inputs.text("lora_name");
    const ModelFile* const file = context.files.find("loras", name);
    if (file == nullptr) return no_such_file("loras", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    ModelValue with_lora = patched(context, model);
    ++with_lora.lora_count;
    with_lora.name += fmt::format("+{}:{}", name, strength_model);
    return NodeResult{{std::move(with_lora), patched(context, clip)}, std::nullopt};
}

NodeOutcome lora_loader_model_only(NodeContext& context, const NodeInputs& inputs) {
    PLIMSOLL_LINKED(model, ModelValue, "model", "clone");
    const double strength = inputs.number("strength_model");
    if (strength == 0) return NodeResult{{model}, std::nullopt};
    const std::string name = inputs.text("lora_name");
    const ModelFile* const file = context.files.find("loras", name);
    if (file == nullptr) return no_such_file("loras", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    ModelValue with_lora = patched(context, model);
    ++with_lora.lora_count;
    with_lora.name += fmt::format("+{}:{}", name, strength);
    return NodeResult{{std::move(with_lora)}, std::nullopt};
}

NodeOutcome control_net_loader(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("control_net_name");
    const ModelFile* const file = context.files.find("controlnet", name);
    if (file == nullptr) return no_such_file("controlnet", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    ControlNetValue control{
        make_weights("control:" + name, {file->controlnet}, context.machine.flags.fp32 ? 4 : 2, 0),
        file->controlnet};
    control.weights->references = 3;  // the control object holds one more than a sampler does
    if (!context.machine.has_gpu()) control.weights->load_device = Device::Cpu;
    if (context.machine.flags.vram_state == VramState::HighVram)
        control.weights->offload_device = Device::Gpu;
    return NodeResult{{std::move(control)}, std::nullopt};
}

NodeOutcome upscale_model_loader(NodeContext& context, const NodeInputs& inputs) {
    const std::string name = inputs.text("model_name");
    const ModelFile* const file = context.files.find("upscale_models", name);
    if (file == nullptr) return no_such_file("upscale_models", name);
    if (!context.machine.read_file(file->name, file->bytes)) return stopped();
    return NodeResult{
        {UpscaleModelValue{make_weights("upscale:" + name, {file->upscale}, 2, 0), 4}},
        std::nullopt};
}

constexpr std::array<NodeEntry, 10> kNodes{{
    {"CheckpointLoaderSimple", checkpoint_loader},
    {"UNETLoader", unet_loader},
    {"VAELoader", vae_loader},
    {"CLIPLoader", clip_loader},
    {"DualCLIPLoader", dual_clip_loader},
    {"CLIPSetLastLayer", clip_set_last_layer},
    {"LoraLoader", lora_loader},
    {"LoraLoaderModelOnly", lora_loader_model_only},
    {"ControlNetLoader", control_net_loader},
    {"UpscaleModelLoader", upscale_model_loader},
}};

}  // namespace

std::span<const NodeEntry> loader_nodes() {
    return kNodes;
}

}  // namespace plimsoll::simulator
