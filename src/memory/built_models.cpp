// SPDX-License-Identifier: Apache-2.0
#include "memory/built_models.h"

#include "memory/networks/audio/audio_encoder.h"
#include "memory/networks/controlnet.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/model_patch.h"
#include "memory/networks/text/text_encoder.h"
#include "memory/networks/upscale/latent_upscaler.h"
#include "memory/networks/upscale/upscaler.h"
#include "memory/networks/vae.h"
#include "memory/networks/vision/clip_vision.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/residency/dtypes.h"
#include "memory/residency/loadable_model.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <cstdlib>
#include <optional>
#include <utility>
#include <variant>

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

// Weights that ComfyUI unpacks layer by layer as it runs: GGUF blocks, two values in a byte.
bool is_unpacked_to_run(modelfile::DType dtype) {
    using enum modelfile::DType;
    return modelfile::dtype_traits(dtype).block_elements > 1 || dtype == Float4E2M1 ||
           dtype == UInt8;
}

// Says so where the walk would not know what such weights need.
bool runs_as_stored(const modelfile::PartWeights& weights, std::string_view what, BuiltFile& file) {
    if (!is_unpacked_to_run(weights.dtype) || weights.linear_millibits > 0) return true;
    file.notes.push_back(fmt::format("{}: stored as {}, which is not simulated yet", what,
                                     modelfile::dtype_traits(weights.dtype).name));
    return false;
}

// ComfyUI runs a network with tensors missing or left over, but hardly ever should: a few are
// noted. Where many are, it is a relative that runs otherwise, and a walk of this one would be
// wrong.
enum class SizeMatch : std::uint8_t { Same, Relative };
SizeMatch compare_size(const Network& network, std::int64_t not_of_file,
                       const modelfile::PartWeights& weights, std::string_view what,
                       BuiltFile& file) {
    // Chosen: far more than tables and markers that finetunes add, less than a kind of layer.
    constexpr std::int64_t kShareMax = 100;
    if (weights.network_params == 0) return SizeMatch::Same;
    std::int64_t params = -not_of_file;
    for (const ModuleEntry& module : network.modules())
        params += module.elements - module.unsaved_elements;
    if (params == weights.network_params) return SizeMatch::Same;
    const std::int64_t apart = std::abs(params - weights.network_params);
    const SizeMatch match =
        apart > weights.network_params / kShareMax ? SizeMatch::Relative : SizeMatch::Same;
    file.notes.push_back(fmt::format(
        "{}: a network of its numbers has {} parameters, the file {}: {}", what, params,
        weights.network_params,
        match == SizeMatch::Same ? "tensors are missing, or it is a relative that is not known"
                                 : "a relative that is not known"));
    return match;
}

template <class T>
void keep_if_same(std::shared_ptr<const T>& network, const modelfile::PartWeights& weights,
                  std::string_view what, BuiltFile& file) {
    if (network && compare_size(*network, 0, weights, what, file) == SizeMatch::Relative)
        network.reset();
}

void build_text_encoders(const modelfile::Contents& c, BuiltFile& file) {
    for (const auto& encoder : c.text_encoders) {
        if (!runs_as_stored(encoder.weights, "text encoder", file)) continue;
        auto built = build_text_encoder(encoder);
        if (!built) {
            file.notes.push_back("text encoder: " + built.error().message);
            continue;
        }
        // Of CLIP wrappers and checkpoints leave a projection out, which is not worth a note.
        const std::size_t notes = file.notes.size();
        const std::int64_t not_of_file = built->text ? built->text->wrapper_params() : 0;
        if (compare_size(built->network(), not_of_file, encoder.weights, "text encoder", file) ==
            SizeMatch::Relative)
            continue;
        if (!built->text) file.notes.resize(notes);
        file.text_encoders.push_back(std::move(*built));
    }
}

std::optional<ComputeType> type_in_file(modelfile::DType dtype) {
    switch (dtype) {
        case modelfile::DType::Float32:
            return ComputeType::Float32;
        case modelfile::DType::Float16:
            return ComputeType::Float16;
        case modelfile::DType::BFloat16:
            return ComputeType::BFloat16;
        case modelfile::DType::Float8E4M3:
            return ComputeType::Float8E4M3;
        case modelfile::DType::Float8E5M2:
            return ComputeType::Float8E5M2;
        case modelfile::DType::Int8:
            return ComputeType::Int8;
        default:
            return std::nullopt;
    }
}

// Of a part whose file is of `dtype`.
modelfile::PartWeights weights_of(const Network& network, modelfile::DType dtype, bool scaled) {
    return {.params = network.params(),
            .bytes = network.weights(type_in_file(dtype).value_or(ComputeType::Float16)),
            .dtype = dtype,
            .scaled_fp8 = scaled,
            .network_params = 0,
            .linear_millibits = 0};
}

enum class DTypeSaid : std::uint8_t { No, Yes };  // whether the file's name says its dtype

// Puts catalogued networks together to what a file of them would hold.
class CatalogueFile {
  public:
    CatalogueFile(modelfile::DType dtype, bool scaled, int linear_millibits = 0)
        : contents_(std::make_shared<modelfile::Contents>()),
          dtype_(dtype),
          scaled_(scaled),
          linear_millibits_(linear_millibits) {}

    Result<void> add_denoiser(const modelfile::KnownModel& model) {
        modelfile::DenoiserConfig config = model.denoiser;
        if (auto* minimax = std::get_if<modelfile::MiniMaxH3Config>(&config))
            minimax->int8_blocks = dtype_ == modelfile::DType::Int8;
        TRY_ASSIGN(const auto network, build_denoiser(config));
        contents_->family = model.family;
        modelfile::PartWeights weights = weigh(*network);
        if (linear_millibits_ > 0) pack(*network, weights);
        contents_->denoiser = {std::move(config), weights, "model.diffusion_model."};
        return {};
    }
    Result<void> add_vae(std::string_view name) {
        TRY_ASSIGN(modelfile::VaeConfig config, modelfile::known_vae(name));
        if (auto* minimax = std::get_if<modelfile::MiniMaxVaeConfig>(&config))
            minimax->int8_decoder = dtype_ == modelfile::DType::Int8;
        TRY_ASSIGN(const auto network, build_vae(config));
        contents_->vae = {std::move(config), weigh(*network), "first_stage_model."};
        return {};
    }
    Result<void> add_sound_vae(std::string_view name) {
        TRY_DO(add_vae(name));
        contents_->sound_vae = std::exchange(contents_->vae, std::nullopt);
        return {};
    }
    Result<void> add_controlnet(std::string_view name) {
        TRY_ASSIGN(modelfile::ControlConfig config, modelfile::known_controlnet(name));
        TRY_ASSIGN(const auto network, build_controlnet(config));
        contents_->family = modelfile::controlled_family(config);
        contents_->controlnet = {std::move(config), weigh(*network), ""};
        return {};
    }
    Result<void> add_model_patch(std::string_view name) {
        TRY_ASSIGN(modelfile::PatchConfig config, modelfile::known_model_patch(name));
        TRY_ASSIGN(const auto network, build_model_patch(config));
        contents_->family = modelfile::patched_family(config);
        contents_->model_patch = {std::move(config), weigh(*network), ""};
        return {};
    }
    Result<void> add_text_encoder(std::string_view name, DTypeSaid said = DTypeSaid::Yes) {
        TRY_ASSIGN(modelfile::TextEncoderConfig config, modelfile::known_text_encoder(name));
        // Files in 8 bit pack the blocks of the diffusion model and leave these as they were.
        const bool in_16_bit = std::holds_alternative<modelfile::LtxTextProjectionConfig>(config) ||
                               std::holds_alternative<modelfile::LtxTextConnectorConfig>(config);
        // Language models are published in bf16; a name that says nothing means that.
        const bool speaks = !std::holds_alternative<modelfile::ClipTextConfig>(config) &&
                            !std::holds_alternative<modelfile::T5Config>(config);
        const modelfile::DType dtype =
            in_16_bit || (speaks && said == DTypeSaid::No) ? modelfile::DType::BFloat16 : dtype_;
        const bool scaled = scaled_ && !in_16_bit;
        modelfile::Part<modelfile::TextEncoderConfig> part{std::move(config),
                                                           {.params = 0,
                                                            .bytes = {},
                                                            .dtype = dtype,
                                                            .scaled_fp8 = scaled,
                                                            .network_params = 0,
                                                            .linear_millibits = linear_millibits_},
                                                           "cond_stage_model."};
        TRY_ASSIGN(const BuiltTextEncoder encoder, build_text_encoder(part));
        part.weights = weigh(encoder.network(), dtype, scaled);
        part.weights.linear_millibits = linear_millibits_;
        contents_->text_encoders.push_back(std::move(part));
        return {};
    }
    Result<void> add_clip_vision(std::string_view name) {
        TRY_ASSIGN(const modelfile::ClipVisionConfig config, modelfile::known_clip_vision(name));
        TRY_ASSIGN(const auto network, build_clip_vision(config));
        contents_->clip_vision = {config, weigh(*network), ""};
        return {};
    }
    Result<void> add_upscaler(std::string_view name) {
        TRY_ASSIGN(const modelfile::UpscalerConfig config, modelfile::known_upscaler(name));
        TRY_ASSIGN(const auto network, build_upscaler(config));
        contents_->upscaler = {config, weigh(*network), ""};
        return {};
    }
    Result<void> add_latent_upscaler(std::string_view name) {
        TRY_ASSIGN(const auto config, modelfile::known_latent_upscaler(name));
        TRY_ASSIGN(const auto network, build_latent_upscaler(config));
        contents_->latent_upscaler = {config, weigh(*network), ""};
        return {};
    }
    Result<void> add_image_reader(std::string_view name) {
        TRY_ASSIGN(modelfile::ImageReaderConfig config, modelfile::known_image_reader(name));
        TRY_ASSIGN(const auto network, build_image_reader(config));
        contents_->image_reader = {std::move(config), weigh(*network), ""};
        return {};
    }
    Result<void> add_audio_encoder(std::string_view name) {
        TRY_ASSIGN(const auto config, modelfile::known_audio_encoder(name));
        TRY_ASSIGN(const auto network, build_audio_encoder(config));
        contents_->audio_encoder = {config, weigh(*network), ""};
        return {};
    }
    [[nodiscard]] std::shared_ptr<const modelfile::Contents> finish() {
        contents_->everything.dtype = dtype_;
        return std::move(contents_);
    }

  private:
    // What is counted in 16 bit takes less.
    void pack(const Network& network, modelfile::PartWeights& weights) {
        constexpr std::int64_t kMillibits = 16'000;
        constexpr std::int64_t kMillibitsOfByte = 8000;
        std::int64_t saved = 0;
        for (const ModuleEntry& module : network.modules())
            if (is_packed_matrix(module))
                saved += module.elements * (kMillibits - linear_millibits_) / kMillibitsOfByte;
        weights.linear_millibits = linear_millibits_;
        weights.bytes = weights.bytes - Bytes(saved);
        contents_->everything.bytes = contents_->everything.bytes - Bytes(saved);
    }

    modelfile::PartWeights weigh(const Network& network) { return weigh(network, dtype_, scaled_); }
    modelfile::PartWeights weigh(const Network& network, modelfile::DType dtype, bool scaled) {
        const modelfile::PartWeights part = weights_of(network, dtype, scaled);
        contents_->everything.params += part.params;
        contents_->everything.bytes += part.bytes;
        return part;
    }

    std::shared_ptr<modelfile::Contents> contents_;
    modelfile::DType dtype_;
    bool scaled_;
    int linear_millibits_;
};

}  // namespace

BuiltFile build_file(std::shared_ptr<const modelfile::Contents> contents) {
    BuiltFile file;
    file.contents = std::move(contents);
    const modelfile::Contents& c = *file.contents;
    if (c.denoiser && runs_as_stored(c.denoiser->weights, "diffusion model", file)) {
        keep(build_denoiser(c.denoiser->config), "diffusion model", file.denoiser, file);
        keep_if_same(file.denoiser, c.denoiser->weights, "diffusion model", file);
    }
    if (c.vae) {
        keep(build_vae(c.vae->config), "VAE", file.vae, file);
        keep_if_same(file.vae, c.vae->weights, "VAE", file);
    }
    if (c.tiny_vae && !c.vae) keep(build_vae(c.tiny_vae->config), "VAE", file.vae, file);
    if (c.sound_vae) {
        auto alone = std::make_shared<modelfile::Contents>();
        alone->vae = c.sound_vae;
        alone->everything = c.everything;  // it is read whole
        file.sound = std::make_shared<const BuiltFile>(build_file(std::move(alone)));
    }
    if (c.controlnet)
        keep(build_controlnet(c.controlnet->config), "ControlNet", file.controlnet, file);
    if (c.clip_vision) {
        keep(build_clip_vision(c.clip_vision->config), "CLIP vision", file.clip_vision, file);
        keep_if_same(file.clip_vision, c.clip_vision->weights, "CLIP vision", file);
    }
    if (c.upscaler) {
        keep(build_upscaler(c.upscaler->config), "upscaler", file.upscaler, file);
        keep_if_same(file.upscaler, c.upscaler->weights, "upscaler", file);
    }
    if (c.latent_upscaler) {
        keep(build_latent_upscaler(c.latent_upscaler->config), "latent upsampler",
             file.latent_upscaler, file);
        keep_if_same(file.latent_upscaler, c.latent_upscaler->weights, "latent upsampler", file);
    }
    if (c.model_patch)
        keep(build_model_patch(c.model_patch->config), "model patch", file.model_patch, file);
    if (c.image_reader) {
        keep(build_image_reader(c.image_reader->config), "image reader", file.image_reader, file);
        keep_if_same(file.image_reader, c.image_reader->weights, "image reader", file);
    }
    if (c.audio_encoder) {
        keep(build_audio_encoder(c.audio_encoder->config), "audio encoder", file.audio_encoder,
             file);
        keep_if_same(file.audio_encoder, c.audio_encoder->weights, "audio encoder", file);
    }
    build_text_encoders(c, file);
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
    TRY_ASSIGN(const modelfile::KnownModel model, modelfile::known_model(family));
    return known_file({.kind = modelfile::NamedFile::Kind::Model,
                       .name = std::string(family),
                       .dtype = model.dtype,
                       .dtype_is_said = true,
                       .scaled_fp8 = false,
                       .linear_millibits = 0},
                      true);
}

Result<std::shared_ptr<const modelfile::Contents>> known_file(const modelfile::NamedFile& file,
                                                              bool whole_checkpoint) {
    using Kind = modelfile::NamedFile::Kind;
    if (file.kind == Kind::Vae) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_vae(file.name));
        return made.finish();
    }
    if (file.kind == Kind::ControlNet) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_controlnet(file.name));
        return made.finish();
    }
    if (file.kind == Kind::ModelPatch) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_model_patch(file.name));
        return made.finish();
    }
    if (file.kind == Kind::TextEncoder) {
        CatalogueFile made(file.dtype, file.scaled_fp8, file.linear_millibits);
        TRY_DO(
            made.add_text_encoder(file.name, file.dtype_is_said ? DTypeSaid::Yes : DTypeSaid::No));
        if (!file.follower.empty()) TRY_DO(made.add_text_encoder(file.follower));
        return made.finish();
    }
    if (file.kind == Kind::ClipVision) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_clip_vision(file.name));
        return made.finish();
    }
    if (file.kind == Kind::Upscaler) {
        CatalogueFile made(file.dtype_is_said ? file.dtype : modelfile::DType::Float32, false);
        TRY_DO(made.add_upscaler(file.name));
        return made.finish();
    }
    if (file.kind == Kind::ImageReader) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_image_reader(file.name));
        if (!file.follower.empty()) TRY_DO(made.add_text_encoder(file.follower));
        return made.finish();
    }
    if (file.kind == Kind::AudioEncoder) {
        CatalogueFile made(file.dtype, false);
        TRY_DO(made.add_audio_encoder(file.name));
        return made.finish();
    }
    if (file.kind == Kind::LatentUpscaler) {
        CatalogueFile made(file.dtype_is_said ? file.dtype : modelfile::DType::BFloat16, false);
        TRY_DO(made.add_latent_upscaler(file.name));
        return made.finish();
    }
    TRY_ASSIGN(const modelfile::KnownModel model, modelfile::known_model(file.name));
    CatalogueFile made(file.dtype_is_said ? file.dtype : model.dtype, file.scaled_fp8,
                       file.linear_millibits);
    TRY_DO(made.add_denoiser(model));
    if (!whole_checkpoint) return made.finish();
    if (!model.sound_vae.empty()) TRY_DO(made.add_sound_vae(model.sound_vae));
    const std::string& vae = file.vae.empty() ? model.vae : file.vae;
    if (!vae.empty()) TRY_DO(made.add_vae(vae));
    for (const std::string& name : model.text_encoders) TRY_DO(made.add_text_encoder(name));
    if (!model.clip_vision.empty()) TRY_DO(made.add_clip_vision(model.clip_vision));
    return made.finish();
}

std::shared_ptr<LoadableModel> loadable_unet(std::string name, const BuiltFile& file,
                                             const Types& types) {
    const std::vector<ModuleEntry> buffers = file.denoiser->model_buffers();
    const std::array<LoadablePart, 2> parts{
        {{"diffusion_model.", file.denoiser->modules(), types.storage},
         {"", buffers, types.storage}}};
    auto model = make_loadable(std::move(name), parts, types.compute);
    const modelfile::PartWeights& weights = file.contents->denoiser->weights;
    if (unpacks_to_run(weights))
        pack_matrices(*model, file.denoiser->modules(), weights.linear_millibits);
    return model;
}

std::shared_ptr<LoadableModel> loadable_text_encoders(std::string name,
                                                      std::span<const BuiltTextEncoder> encoders,
                                                      const LaunchFlags& flags) {
    std::vector<LoadablePart> parts;
    parts.reserve(encoders.size());
    for (const BuiltTextEncoder& encoder : encoders)
        parts.push_back(
            {encoder.prefix, encoder.network().modules(), types_of(encoder, flags).storage});
    auto model = make_loadable(std::move(name), parts, ComputeType::Float32);
    std::int64_t params = 0;
    for (const BuiltTextEncoder& encoder : encoders) params += encoder.network().params();
    model->placement_bytes = params * bytes_per_element(clip_types(flags).storage);
    return model;
}

std::shared_ptr<LoadableModel> loadable_vae(std::string name, const Vae& vae, ComputeType type) {
    const LoadablePart part{"", vae.modules(), type};
    return make_loadable(std::move(name), {&part, 1}, type);
}

std::shared_ptr<LoadableModel> loadable_network(std::string name, const Network& network,
                                                const Types& types) {
    const LoadablePart part{"", network.modules(), types.storage};
    return make_loadable(std::move(name), {&part, 1}, types.compute);
}

std::shared_ptr<LoadableModel> loadable_clip_vision(std::string name,
                                                    const ClipVisionNetwork& network,
                                                    const Types& types) {
    const LoadablePart part{"", network.modules(), types.storage};
    return make_loadable(std::move(name), {&part, 1}, types.compute);
}

std::shared_ptr<LoadableModel> loadable_upscaler(std::string name, const Upscaler& network) {
    const LoadablePart part{"", network.modules(), ComputeType::Float32};
    return make_loadable(std::move(name), {&part, 1}, ComputeType::Float32);
}

namespace {

// "double_blocks.3.img_attn.qkv", "text_model.encoder.layers.0.mlp.fc1": under a list of blocks.
bool in_repeated_block(std::string_view path) {
    for (std::size_t dot = path.find('.'); dot != std::string_view::npos;
         dot = path.find('.', dot + 1)) {
        const std::string_view before = path.substr(0, dot);
        const bool list = before.ends_with("blocks") || before.ends_with("layers") ||
                          before.ends_with("block") || before.ends_with("layer");
        const std::string_view after = path.substr(dot + 1);
        if (list && !after.empty() && after.front() >= '0' && after.front() <= '9' &&
            after.find('.') != std::string_view::npos)
            return true;
    }
    return false;
}

}  // namespace

std::vector<std::uint8_t> transformer_linears(const LoadableModel& model) {
    constexpr std::string_view kOfUnet = ".transformer_blocks.";
    const bool unet = std::ranges::any_of(model.units, [&](const LoadUnit& unit) {
        return unit.path->find(kOfUnet) != std::string::npos;
    });
    std::vector<std::uint8_t> patched(model.units.size(), 0);
    for (std::size_t i = 0; i < patched.size(); ++i) {
        const std::string& path = *model.units[i].path;
        const bool inside =
            unet ? path.find(kOfUnet) != std::string::npos : in_repeated_block(path);
        const bool norm = path.find("norm") != std::string::npos;
        patched[i] = inside && !norm ? 1 : 0;
    }
    return patched;
}

}  // namespace plimsoll::memory
