// SPDX-License-Identifier: Apache-2.0
//
// The catalogue of known architectures (data/architectures.json, compiled in): configurations by
// name, for when no file is at hand. Read once, on first use; immutable afterwards.
//
// Threads: any number of readers.
#pragma once
#include "base/error.h"
#include "modelfile/network_config.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

// NotFound lists the names that there are. Names: "sd15", "sdxl_inpaint", "kl4", "clip_l"...
[[nodiscard]] Result<UnetConfig> known_unet(std::string_view name);
[[nodiscard]] Result<ControlConfig> known_controlnet(std::string_view name);
[[nodiscard]] Result<PatchConfig> known_model_patch(std::string_view name);
[[nodiscard]] Result<T2iAdapterConfig> known_t2i_adapter(std::string_view name);
[[nodiscard]] Result<KlVaeConfig> known_kl_vae(std::string_view name);
[[nodiscard]] Result<ClipTextConfig> known_clip(std::string_view name);
[[nodiscard]] Result<VaeConfig> known_vae(std::string_view name);
[[nodiscard]] Result<ClipVisionConfig> known_clip_vision(std::string_view name);
[[nodiscard]] Result<UpscalerConfig> known_upscaler(std::string_view name);
[[nodiscard]] Result<LatentUpscalerConfig> known_latent_upscaler(std::string_view name);
[[nodiscard]] Result<ImageReaderConfig> known_image_reader(std::string_view name);
[[nodiscard]] Result<AudioEncoderConfig> known_audio_encoder(std::string_view name);
// CLIP, T5, language models.
[[nodiscard]] Result<TextEncoderConfig> known_text_encoder(std::string_view name);

// A published model: its diffusion network and what it is used with.
struct KnownModel {
    DenoiserConfig denoiser;
    Family family = Family::Unknown;
    std::vector<std::string> text_encoders;  // names of known_text_encoder
    std::string vae;                         // of known_vae; empty: one that is not modelled
    std::string sound_vae;                   // beside it; empty: none, or not modelled
    std::string clip_vision;                 // in its checkpoint; empty: none
    DType dtype = DType::Float16;            // of the published file
};
// Names: those of the UNets, "flux_dev", "wan_t2v_14b", ...
[[nodiscard]] std::vector<std::string> known_unet_names();
[[nodiscard]] Result<KnownModel> known_model(std::string_view name);
[[nodiscard]] std::vector<std::string> known_model_names();

// The numbers of a model's diffusion network, or of a VAE, as one kind; NotFound where it is of
// another.
template <class Config>
[[nodiscard]] Result<Config> known_denoiser(std::string_view name) {
    TRY_ASSIGN(const KnownModel model, known_model(name));
    if (const auto* config = std::get_if<Config>(&model.denoiser)) return *config;
    return fail(Errc::NotFound, "the model's network is of another kind");
}
template <class Config>
[[nodiscard]] Result<Config> known_vae_as(std::string_view name) {
    TRY_ASSIGN(const VaeConfig vae, known_vae(name));
    if (const auto* config = std::get_if<Config>(&vae)) return *config;
    return fail(Errc::NotFound, "the VAE is of another kind");
}

}  // namespace plimsoll::modelfile
