// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/session.h"

#include "memory/families.h"
#include "memory/networks/audio/audio_encoder.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/model_patch.h"
#include "memory/networks/upscale/latent_upscaler.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/residency/estimates.h"
#include "memory/residency/loadable_model.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

SessionState::SessionState() : content_(std::make_unique<Content>()) {}
SessionState::~SessionState() = default;

void SessionState::forget() {
    *content_ = {};
}

std::string file_list(const ProgramModel& model) {
    return fmt::format("{}", fmt::join(model.files, " + "));
}

// Linear layers of scaled fp8 stay in fp8 whatever the card computes in. The few other layers are
// counted in it too.
std::optional<ComputeType> forced_storage(const ProgramModel& model,
                                          const modelfile::PartWeights& weights) {
    if (model.forced_storage || !weights.scaled_fp8) return model.forced_storage;
    if (weights.dtype == modelfile::DType::Float8E4M3) return ComputeType::Float8E4M3;
    if (weights.dtype == modelfile::DType::Float8E5M2) return ComputeType::Float8E5M2;
    return std::nullopt;
}

namespace {

// In nvfp4, which cards since Blackwell multiply as it is (ComfyUI since 2026).
bool computes_packed(modelfile::DType dtype, const Device& device) {
    constexpr int kBlackwell = 100;
    return dtype == modelfile::DType::Float4E2M1 && device.vendor == Vendor::Nvidia &&
           device.compute_capability >= kBlackwell;
}

std::optional<ComputeType> stored_type_of(modelfile::DType dtype) {
    using enum modelfile::DType;
    if (dtype == Float32) return ComputeType::Float32;
    if (dtype == Float16) return ComputeType::Float16;
    if (dtype == BFloat16) return ComputeType::BFloat16;
    return std::nullopt;
}

}  // namespace

std::shared_ptr<LoadableModel> make_loadable(const ProgramModel& model, const Server& server,
                                             const Device& device, Types& types) {
    const std::string name = fmt::format("{} / {}", file_list(model), model_role_name(model.role));
    const BuiltFile& file = *model.built.front();
    const LaunchFlags& flags = server.flags;
    std::shared_ptr<LoadableModel> loadable;
    switch (model.role) {
        case ModelRole::Unet: {
            const auto& weights = file.contents->denoiser->weights;
            const FamilyTraits traits = family_traits(
                file.contents->family, file.contents->denoiser->config, server.version);
            const bool packed = unpacks_to_run(weights);
            types = unet_types({.params = weights.params,
                                .file = packed ? modelfile::DType::BFloat16 : weights.dtype,
                                .supported = traits.types,
                                .forced = forced_storage(model, weights)},
                               flags, device);
            // ComfyUI 0.33.0 runs SeedVR2's half precision in the wider type, layer by layer.
            if (file.contents->family == modelfile::Family::SeedVr2 &&
                types.compute == ComputeType::Float16 && computes_bf16(device, flags))
                types.compute = ComputeType::BFloat16;
            loadable = loadable_unet(name, file, types);
            // Every operation has its matrix unpacked: a copy, as of a type of one byte.
            if (packed && !computes_packed(weights.dtype, device))
                types.storage = ComputeType::Int8;
            break;
        }
        case ModelRole::ControlNet: {
            const auto& weights = file.contents->controlnet->weights;
            const FamilyTraits traits =
                family_traits(file.contents->family, modelfile::UnetConfig{}, server.version);
            types = unet_types({.params = weights.params,
                                .file = weights.dtype,
                                .supported = traits.types,
                                .forced = {}},
                               flags, device);
            loadable = loadable_network(name, *file.controlnet, types);
            break;
        }
        case ModelRole::ModelPatch: {
            // Kept as the file has it, computed in whatever its inputs are of.
            const auto& weights = file.contents->model_patch->weights;
            const FamilyTraits traits =
                family_traits(file.contents->family, modelfile::UnetConfig{}, server.version);
            types = unet_types({.params = weights.params,
                                .file = weights.dtype,
                                .supported = traits.types,
                                .forced = {}},
                               flags, device);
            types.storage = stored_type_of(weights.dtype).value_or(types.storage);
            loadable = loadable_network(name, *file.model_patch, types);
            break;
        }
        case ModelRole::ImageReader: {
            types = clip_types(flags);
            if (file.image_reader->loader() == ReaderLoader::AsDiffusion) {
                constexpr std::array kTypes = {ComputeType::Float16, ComputeType::BFloat16,
                                               ComputeType::Float32};
                const auto& weights = file.contents->image_reader->weights;
                types = unet_types({.params = weights.params,
                                    .file = weights.dtype,
                                    .supported = kTypes,
                                    .forced = model.forced_storage},
                                   flags, device);
                types.compute = types.storage;  // what it is given is cast to the weights' type
            }
            loadable = loadable_network(name, *file.image_reader, types);
            break;
        }
        case ModelRole::AudioEncoder:
            types = clip_types(flags);
            loadable = loadable_network(name, *file.audio_encoder, types);
            break;
        case ModelRole::Other:  // never known, never loaded
            break;
        case ModelRole::ClipVision:
            types = clip_types(flags);
            loadable = loadable_clip_vision(name, *file.clip_vision, types);
            break;
        case ModelRole::Upscaler:
            // Spandrel builds it in fp32 whatever the file's type, and nothing of it can stream.
            types = {ComputeType::Float32, ComputeType::Float32};
            loadable = loadable_upscaler(name, *file.upscaler);
            break;
        case ModelRole::LatentUpscaler: {
            // Of the types that images' VAEs have, whatever the file's.
            const ComputeType type = vae_type(vae_types(VaeKind::AutoencoderKl), flags, device);
            types = {type, type};
            loadable = loadable_network(name, *file.latent_upscaler, types);
            break;
        }
        case ModelRole::TextEncoder: {
            types = clip_types(flags);
            std::vector<BuiltTextEncoder> encoders;
            for (const auto& built : model.built)
                encoders.insert(encoders.end(), built->text_encoders.begin(),
                                built->text_encoders.end());
            loadable = loadable_text_encoders(name, encoders, flags);
            break;
        }
        case ModelRole::Vae: {
            const ComputeType type = vae_type(vae_types(file.vae->kind()), flags, device);
            types = {type, type};
            loadable = loadable_vae(name, *file.vae, type);
            break;
        }
    }
    loadable->networks =
        std::make_shared<std::vector<std::shared_ptr<const BuiltFile>>>(model.built);
    return loadable;
}

}  // namespace plimsoll::memory
