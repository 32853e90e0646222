// SPDX-License-Identifier: Apache-2.0
#include "service/models.h"

#include "base/text.h"
#include "memory/networks/walk.h"
#include "modelfile/architectures.h"
#include "modelfile/detect.h"
#include "modelfile/read.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::array<std::string_view, 9> kModelEndings{
    ".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".pt2", ".bin", ".pkl"};
// ComfyUI's folders of the files that its loaders list.
constexpr std::array<std::string_view, 11> kSubfolders{
    "",     "checkpoints", "diffusion_models", "unet",  "vae",           "text_encoders",
    "clip", "controlnet",  "t2i_adapter",      "loras", "upscale_models"};

bool looks_like_model(std::string_view name) {
    const std::string lower = to_lower_ascii(name);
    return std::ranges::any_of(kModelEndings,
                               [&](std::string_view ending) { return lower.ends_with(ending); });
}

modelfile::PartWeights weights_of(const memory::Network& network) {
    return {.params = network.params(),
            .bytes = network.weights(memory::ComputeType::Float16),
            .dtype = modelfile::DType::Float16,
            .scaled_fp8 = false};
}

// The text encoders inside a checkpoint of a UNet with this context width.
std::vector<std::string> encoders_of(const modelfile::UnetConfig& unet) {
    if (unet.context_dim == 768) return {"clip_l"};
    if (unet.context_dim == 1024) return {"clip_h"};
    if (unet.context_dim == 1280) return {"clip_g"};  // SDXL refiner
    return {"clip_l", "clip_g"};
}

}  // namespace

std::vector<std::string> catalogue_families() {
    return modelfile::known_unet_names();
}

Result<SharedContents> catalogue_contents(std::string_view family) {
    auto contents = std::make_shared<modelfile::Contents>();
    TRY_ASSIGN(modelfile::UnetConfig unet, modelfile::known_unet(family));
    TRY_ASSIGN(const auto unet_network, memory::build_unet(unet));
    contents->family = unet.family;
    const std::vector<std::string> encoders = encoders_of(unet);
    contents->unet = {std::move(unet), weights_of(*memory::as_network(unet_network)),
                      "model.diffusion_model."};
    TRY_ASSIGN(modelfile::KlVaeConfig vae, modelfile::known_kl_vae("kl4"));
    TRY_ASSIGN(const auto vae_network, memory::build_kl_vae(vae));
    contents->vae = {std::move(vae), weights_of(*memory::as_network(vae_network)),
                     "first_stage_model."};
    for (const std::string& name : encoders) {
        TRY_ASSIGN(modelfile::ClipTextConfig clip, modelfile::known_clip(name));
        TRY_ASSIGN(const auto clip_network, memory::build_clip(clip));
        contents->text_encoders.push_back(
            {std::move(clip), weights_of(*memory::as_network(clip_network)), "cond_stage_model."});
    }
    modelfile::PartWeights& all = contents->everything;
    const auto add = [&](const modelfile::PartWeights& part) {
        all.params += part.params;
        all.bytes += part.bytes;
    };
    add(contents->unet->weights);
    add(contents->vae->weights);
    for (const auto& encoder : contents->text_encoders) add(encoder.weights);
    contents->notes.push_back(
        fmt::format("from the catalogue of known architectures ({}), not from a file", family));
    return SharedContents(std::move(contents));
}

std::optional<std::filesystem::path> ModelLibrary::find(std::string_view name) const {
    const std::filesystem::path relative(name);
    const bool leaves =
        relative.is_absolute() ||
        std::ranges::any_of(relative, [](const auto& part) { return part == ".."; });
    if (name.empty() || leaves) return std::nullopt;
    for (const auto& folder : folders_)
        for (const std::string_view sub : kSubfolders) {
            auto candidate = sub.empty() ? folder / relative : folder / sub / relative;
            std::error_code error;
            if (std::filesystem::is_regular_file(candidate, error)) return candidate;
        }
    return std::nullopt;
}

Result<SharedContents> ModelLibrary::read(const std::filesystem::path& path) {
    std::error_code error;
    const auto size = std::filesystem::file_size(path, error);
    const auto changed =
        error ? std::filesystem::file_time_type() : std::filesystem::last_write_time(path, error);
    const auto known = cache_.find(path);
    if (!error && known != cache_.end() && known->second.size == size &&
        known->second.changed == changed)
        return known->second.contents;
    TRY_ASSIGN(const modelfile::TensorTable table, modelfile::read_model_file(path));
    auto contents = std::make_shared<const modelfile::Contents>(modelfile::detect_contents(table));
    if (!error) cache_.insert_or_assign(path, Cached{size, changed, contents});
    return SharedContents(std::move(contents));
}

memory::ModelFiles ModelLibrary::files_of(const workflow::Graph& graph,
                                          std::vector<std::string>& warnings) {
    memory::ModelFiles files;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs) {
            const auto* const name = std::get_if<std::string>(&input.value);
            if (name == nullptr || !looks_like_model(*name) || files.by_name.contains(*name))
                continue;
            if (const auto path = find(*name)) {
                if (auto contents = read(*path))
                    files.by_name.emplace(*name, std::move(*contents));
                else
                    warnings.push_back(fmt::format("{}: {}", *name, contents.error().message));
                continue;
            }
            if (input.name != "ckpt_name") {
                warnings.push_back(
                    fmt::format("{}: the file is not in a model folder of this machine "
                                "(models_dir), what depends on it is unknown",
                                *name));
                continue;
            }
            const std::string family = guess_family_of_file(*name, 1024);
            if (auto contents = catalogue_contents(family)) {
                files.by_name.emplace(*name, std::move(*contents));
                warnings.push_back(
                    fmt::format("{}: the file is not in a model folder of this machine "
                                "(models_dir), forecast as {} in fp16",
                                *name, family));
            }
        }
    return files;
}

}  // namespace plimsoll::service
