// SPDX-License-Identifier: Apache-2.0
#include "base/say.h"
#include "memory/lowering/patch_rules.h"
#include "memory/lowering/verbs.h"
#include "memory/networks/vae.h"

#include <fmt/format.h>

#include <algorithm>
#include <optional>
#include <utility>

namespace plimsoll::memory {

namespace {

using workflow::NodeVerb;

// No network reads the prompt before the diffusion model does.
bool hands_tokens_on(const BuiltFile& file) {
    return file.contents->family == modelfile::Family::HiDreamO1;
}

bool has_role(const BuiltFile& file, ModelRole role) {
    switch (role) {
        case ModelRole::Unet:
            return file.denoiser != nullptr;
        case ModelRole::TextEncoder:
            return !file.text_encoders.empty() || hands_tokens_on(file);
        case ModelRole::Vae:
            return file.vae != nullptr;
        case ModelRole::ControlNet:
            return file.controlnet != nullptr;
        case ModelRole::ClipVision:
            return file.clip_vision != nullptr;
        case ModelRole::Upscaler:
            return file.upscaler != nullptr;
        case ModelRole::LatentUpscaler:
            return file.latent_upscaler != nullptr;
        case ModelRole::ModelPatch:
            return file.model_patch != nullptr;
        case ModelRole::ImageReader:
            return file.image_reader != nullptr;
        case ModelRole::AudioEncoder:
            return file.audio_encoder != nullptr;
        case ModelRole::Other:
            return false;
    }
    return false;
}

Phrase why_not(const std::string& name, const BuiltFile* file, ModelRole role) {
    if (name.empty()) return say<"unknown.no_file">();
    if (file == nullptr) return say<"unknown.not_seen">(name);
    if (!file->notes.empty()) return say<"unknown.of_file">(name, file->notes.front());
    return say<"unknown.no_role">(name, model_role_name(role));
}

// Of a file's VAEs the one for sound; nullptr where it has none that is known.
std::shared_ptr<const BuiltFile> sound_of(std::shared_ptr<const BuiltFile> file) {
    if (file == nullptr || file->sound != nullptr) return file == nullptr ? file : file->sound;
    return file->vae != nullptr && file->vae->sound() ? file : nullptr;
}

// Some files bring only what follows the text encoder of another.
bool encodes_text(const ProgramModel& model) {
    return std::ranges::any_of(model.built, [](const auto& file) {
        if (file == nullptr) return false;
        return hands_tokens_on(*file) ||
               std::ranges::any_of(file->text_encoders,
                                   [](const auto& encoder) { return !encoder.follows_another; });
    });
}

// What a text encoder is loaded for: the loader says it, or the checkpoint's family.
std::string purpose_of(const NodeScope& scope, const ProgramModel& model) {
    if (auto type = scope.text("type")) return *type;
    if (model.built.empty() || model.built.front() == nullptr) return {};
    return std::string(modelfile::family_name(model.built.front()->contents->family));
}

Value add_model(NodeScope& scope, const BuiltModels& models, ModelRole role,
                const std::vector<std::string>& files, LoadStep& load) {
    ProgramModel model{.role = role,
                       .purpose = {},
                       .files = files,
                       .built = {},
                       .why_unknown = {},
                       .forced_storage = {}};
    model.own_file = scope.kind().verb != NodeVerb::LoadCheckpoint;
    if (files.empty()) model.why_unknown = say<"unknown.no_file">();
    for (const std::string& file : files) {
        model.built.push_back(models.find(file));
        if (role == ModelRole::Vae && scope.kind().sound && model.built.back() != nullptr) {
            model.built.back() = sound_of(model.built.back());
            if (model.built.back() == nullptr && model.known())
                model.why_unknown = say<"unknown.no_sound">(file);
        }
        const BuiltFile* built = model.built.back().get();
        if (model.known() && (built == nullptr || !has_role(*built, role)))
            model.why_unknown = why_not(file, built, role);
    }
    if (role == ModelRole::TextEncoder && model.known() && !encodes_text(model))
        model.why_unknown = say<"unknown.no_text">(files.front());
    if (role == ModelRole::TextEncoder) model.purpose = purpose_of(scope, model);
    if (const auto dtype = scope.text("weight_dtype"); dtype && dtype->starts_with("fp8"))
        model.forced_storage =
            dtype->starts_with("fp8_e5m2") ? ComputeType::Float8E5M2 : ComputeType::Float8E4M3;
    // Loaders of image readers offer the whole types only.
    if (const auto dtype = scope.text("weight_dtype"); dtype && role == ModelRole::ImageReader)
        for (const auto& [name, type] :
             {std::pair{"fp16", ComputeType::Float16}, std::pair{"bf16", ComputeType::BFloat16},
              std::pair{"fp32", ComputeType::Float32}})
            if (*dtype == name) model.forced_storage = type;
    Program& program = scope.program();
    const auto index = static_cast<ModelIndex>(program.models.size());
    program.models.push_back(std::move(model));
    load.models.push_back(index);
    return {ModelValue{{.model = index}, role}};
}

// What is odd about a file whose networks are known all the same.
void note_doubts(NodeScope& scope, const BuiltModels& models, const std::string& name) {
    const auto file = models.find(name);
    if (file == nullptr) return;
    for (const std::string& note : file->notes) scope.note(say<"note.of_file">(name, note));
}

Values load(NodeScope& scope, const BuiltModels& models, ModelRole role,
            const std::vector<std::string>& inputs) {
    std::vector<std::string> files;
    for (const std::string& input : inputs)
        if (auto file = scope.text(input)) files.push_back(std::move(*file));
    LoadStep step;
    Values values{add_model(scope, models, role, files, step)};
    for (const std::string& file : files) note_doubts(scope, models, file);
    scope.step(std::move(step));
    return values;
}

std::vector<ModelRole> roles_of(const workflow::NodeKind& kind) {
    if (kind.makes.empty()) return {ModelRole::Unet, ModelRole::TextEncoder, ModelRole::Vae};
    std::vector<ModelRole> roles;
    for (const std::string& made : kind.makes)
        roles.push_back(made == "model"         ? ModelRole::Unet
                        : made == "clip"        ? ModelRole::TextEncoder
                        : made == "vae"         ? ModelRole::Vae
                        : made == "clip_vision" ? ModelRole::ClipVision
                                                : ModelRole::Other);
    return roles;
}

Values load_checkpoint(NodeScope& scope, const BuiltModels& models) {
    const std::vector<std::string> file{scope.text("ckpt_name").value_or("")};
    LoadStep step;
    Values values;
    const auto known = models.find(file.front());
    for (ModelRole role : roles_of(scope.kind())) {
        // Some checkpoints hold what looks at images.
        if (role == ModelRole::Unet && known != nullptr && known->image_reader != nullptr)
            role = ModelRole::ImageReader;
        values.push_back(add_model(scope, models, role, file, step));
    }
    note_doubts(scope, models, file.front());
    scope.step(std::move(step));
    return values;
}

// Of what loaders of other kinds load, what is walked.
std::optional<ModelRole> walked_role(const BuiltFile& file) {
    for (const ModelRole role :
         {ModelRole::ModelPatch, ModelRole::ImageReader, ModelRole::AudioEncoder})
        if (has_role(file, role)) return role;
    return std::nullopt;
}

// A network of a kind that is not forecast: the file is named, so that what runs it can say why.
Values load_other(NodeScope& scope, const BuiltModels& models) {
    std::vector<std::string> files;
    for (const std::string& input : scope.kind().files)
        if (auto file = scope.text(input)) files.push_back(std::move(*file));
    LoadStep step;
    const auto known = files.size() == 1 ? models.find(files.front()) : nullptr;
    const auto walked = known == nullptr ? std::nullopt : walked_role(*known);
    if (walked) {
        Values values{add_model(scope, models, *walked, files, step)};
        note_doubts(scope, models, files.front());
        scope.step(std::move(step));
        return values;
    }
    Value network = add_model(scope, models, ModelRole::Other, files, step);
    scope.program().models.back().why_unknown =
        files.empty() ? say<"unknown.network">(scope.kind().network)
                      : say<"unknown.network_file">(scope.kind().network, files.front());
    scope.step(std::move(step));
    return {std::move(network)};
}

// A network that runs inside the model's, beside its weights.
Values patch_with_network(NodeScope& scope) {
    std::vector<LatentShape> encoded;
    if (!run_encodes(scope, encoded)) scope.forgive();
    Values values = make_outputs(scope);
    const auto* network = scope.get<ModelValue>("model_patch");
    if (network == nullptr || scope.number("strength") == 0.0) return values;
    for (Value& value : values)
        if (auto* model = std::get_if<ModelValue>(&value.what))
            model->use.additions.push_back(network->use.model);
    return values;
}

constexpr std::size_t kLorasMax = 64;  // chosen: no graph draws as many

// The files that a node puts into weights; empty texts and "None" are none.
std::vector<LoraIndex> loras_of(NodeScope& scope, const BuiltModels& models) {
    const std::vector<std::string> usual{"lora_name"};
    std::vector<LoraIndex> loras;
    for (const std::string& input : scope.kind().files.empty() ? usual : scope.kind().files) {
        const auto name = scope.text(input);
        if (!name || name->empty() || *name == "None" || loras.size() >= kLorasMax) continue;
        loras.push_back(add_lora(scope, models, *name));
    }
    return loras;
}

// A LoRA changes weights where they lie; it is another model only for the loader. A model that is
// merged with another is patched in every weight.
Values patch(NodeScope& scope, const BuiltModels& models) {
    if (scope.is_linked("model_patch")) return patch_with_network(scope);
    Values values = make_outputs(scope);
    const bool merges = scope.kind().files.empty() && scope.node().find("lora_name") == nullptr;
    const std::vector<LoraIndex> loras = loras_of(scope, models);
    for (std::size_t slot = 0; slot < values.size(); ++slot) {
        auto* model = std::get_if<ModelValue>(&values[slot].what);
        const bool clip = model != nullptr && scope.kind().outputs[slot].from == "clip";
        const auto strength = scope.number(clip ? "strength_clip" : "strength_model");
        if (model == nullptr || strength == 0.0) continue;  // ComfyUI leaves it alone too
        model->use.patch_id = hash_number(scope.signature(), slot + 1);
        model->use.merged_whole = model->use.merged_whole || merges;
        if (model->use.loras.size() < kLorasMax)
            model->use.loras.insert(model->use.loras.end(), loras.begin(), loras.end());
    }
    return values;
}

}  // namespace

Values lower_model_verb(NodeScope& scope, const BuiltModels& models) {
    switch (scope.kind().verb) {
        case NodeVerb::LoadCheckpoint:
            return load_checkpoint(scope, models);
        case NodeVerb::LoadUnet: {
            // Its folder holds what looks at images too.
            const auto file = models.find(scope.text("unet_name").value_or(""));
            const bool reads = file != nullptr && file->image_reader != nullptr;
            return load(scope, models, reads ? ModelRole::ImageReader : ModelRole::Unet,
                        {"unet_name"});
        }
        case NodeVerb::LoadClip:
            return load(scope, models, ModelRole::TextEncoder, scope.kind().files);
        case NodeVerb::LoadVae:
            return load(scope, models, ModelRole::Vae,
                        scope.kind().files.empty() ? std::vector<std::string>{"vae_name"}
                                                   : scope.kind().files);
        case NodeVerb::LoadControlNet:
            return load(scope, models, ModelRole::ControlNet, {"control_net_name"});
        case NodeVerb::LoadClipVision:
            return load(scope, models, ModelRole::ClipVision, scope.kind().files);
        case NodeVerb::LoadUpscaler:
            return load(scope, models, ModelRole::Upscaler, scope.kind().files);
        case NodeVerb::LoadLatentUpscaler:
            return load(scope, models, ModelRole::LatentUpscaler, scope.kind().files);
        case NodeVerb::LoadOther:
            return load_other(scope, models);
        default:
            return patch(scope, models);
    }
}

}  // namespace plimsoll::memory
