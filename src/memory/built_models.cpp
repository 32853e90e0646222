// SPDX-License-Identifier: Apache-2.0
#include "memory/built_models.h"

#include "memory/networks/clip_text.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/kl_vae.h"
#include "memory/networks/unet.h"
#include "memory/residency/dtypes.h"
#include "memory/residency/loadable_model.h"
#include "modelfile/architectures.h"

#include <array>
#include <utility>

namespace plimsoll::memory {

namespace {

template <class T>
void keep(Result<std::shared_ptr<const T>> built, std::string_view what,
          std::shared_ptr<const T>& into, BuiltFile& file) {
    if (built)
        into = std::move(*built);
    else
        file.notes.push_back(std::string(what) + ": " + built.error().message);
}

// The text encoders inside a checkpoint of a UNet with this context width.
std::vector<std::string_view> encoders_of(const modelfile::UnetConfig& unet) {
    if (unet.context_dim == 768) return {"clip_l"};
    if (unet.context_dim == 1024) return {"clip_h"};
    if (unet.context_dim == 1280) return {"clip_g"};  // SDXL's refiner
    return {"clip_l", "clip_g"};
}

modelfile::PartWeights weights_of(const Network& network) {
    return {.params = network.params(),
            .bytes = network.weights(ComputeType::Float16),
            .dtype = modelfile::DType::Float16,
            .scaled_fp8 = false};
}

}  // namespace

BuiltFile build_file(std::shared_ptr<const modelfile::Contents> contents) {
    BuiltFile file;
    file.contents = std::move(contents);
    const modelfile::Contents& c = *file.contents;
    if (c.unet) keep(build_unet(c.unet->config), "diffusion model", file.unet, file);
    if (c.vae) keep(build_kl_vae(c.vae->config), "VAE", file.vae, file);
    if (c.controlnet)
        keep(build_controlnet(c.controlnet->config), "ControlNet", file.controlnet, file);
    for (const auto& encoder : c.text_encoders) {
        BuiltClip clip{.prefix = encoder.config.name + ".", .network = {}};
        keep(build_clip(encoder.config), encoder.config.name, clip.network, file);
        if (clip.network) file.text_encoders.push_back(std::move(clip));
    }
    return file;
}

std::shared_ptr<const BuiltFile> BuiltModels::find(std::string_view name) const {
    const auto found = by_name.find(name);
    return found == by_name.end() ? nullptr : found->second;
}

BuiltModels build_models(const ModelFiles& files) {
    BuiltModels models;
    for (const auto& [name, contents] : files.by_name)
        if (contents)
            models.by_name.emplace(name, std::make_shared<const BuiltFile>(build_file(contents)));
    return models;
}

Result<std::shared_ptr<const modelfile::Contents>> known_checkpoint(std::string_view family) {
    auto contents = std::make_shared<modelfile::Contents>();
    TRY_ASSIGN(modelfile::UnetConfig unet, modelfile::known_unet(family));
    TRY_ASSIGN(const auto unet_network, build_unet(unet));
    contents->family = unet.family;
    const std::vector<std::string_view> encoders = encoders_of(unet);
    contents->unet = {std::move(unet), weights_of(*unet_network), "model.diffusion_model."};
    TRY_ASSIGN(modelfile::KlVaeConfig vae, modelfile::known_kl_vae("kl4"));
    TRY_ASSIGN(const auto vae_network, build_kl_vae(vae));
    contents->vae = {std::move(vae), weights_of(*vae_network), "first_stage_model."};
    for (const std::string_view name : encoders) {
        TRY_ASSIGN(modelfile::ClipTextConfig clip, modelfile::known_clip(name));
        TRY_ASSIGN(const auto clip_network, build_clip(clip));
        contents->text_encoders.push_back(
            {std::move(clip), weights_of(*clip_network), "cond_stage_model."});
    }
    modelfile::PartWeights& all = contents->everything;
    const auto add = [&](const modelfile::PartWeights& part) {
        all.params += part.params;
        all.bytes += part.bytes;
    };
    add(contents->unet->weights);
    add(contents->vae->weights);
    for (const auto& encoder : contents->text_encoders) add(encoder.weights);
    return std::shared_ptr<const modelfile::Contents>(std::move(contents));
}

std::shared_ptr<LoadableModel> loadable_unet(std::string name, const BuiltFile& file,
                                             const Types& types) {
    const std::vector<ModuleEntry> buffers = file.unet->model_buffers();
    const std::array<LoadablePart, 2> parts{
        {{"diffusion_model.", file.unet->modules(), types.storage}, {"", buffers, types.storage}}};
    return make_loadable(std::move(name), parts, types.compute);
}

std::shared_ptr<LoadableModel> loadable_text_encoders(std::string name,
                                                      std::span<const BuiltClip> encoders,
                                                      const Types& types) {
    std::vector<LoadablePart> parts;
    parts.reserve(encoders.size());
    for (const BuiltClip& clip : encoders)
        parts.push_back({clip.prefix, clip.network->modules(), types.storage});
    return make_loadable(std::move(name), parts, types.compute);
}

std::shared_ptr<LoadableModel> loadable_vae(std::string name, const KlVaeNetwork& vae,
                                            ComputeType type) {
    const LoadablePart part{"", vae.modules(), type};
    return make_loadable(std::move(name), {&part, 1}, type);
}

std::shared_ptr<LoadableModel> loadable_controlnet(std::string name,
                                                   const ControlNetNetwork& controlnet,
                                                   const Types& types) {
    const LoadablePart part{"", controlnet.modules(), types.storage};
    return make_loadable(std::move(name), {&part, 1}, types.compute);
}

std::vector<std::uint8_t> transformer_linears(const LoadableModel& model) {
    std::vector<std::uint8_t> patched(model.units.size(), 0);
    for (std::size_t i = 0; i < patched.size(); ++i) {
        const std::string& path = *model.units[i].path;
        const bool inside = path.find(".transformer_blocks.") != std::string::npos;
        const bool norm = path.find(".norm") != std::string::npos;
        patched[i] = inside && !norm ? 1 : 0;
    }
    return patched;
}

}  // namespace plimsoll::memory
