// SPDX-License-Identifier: Apache-2.0
#include "service/models.h"

#include "base/say.h"
#include "base/text.h"
#include "memory/built_models.h"
#include "modelfile/architectures.h"
#include "modelfile/detect.h"
#include "modelfile/read.h"
#include "workflow/node_catalogue.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::service {

namespace {

constexpr std::array<std::string_view, 9> kModelEndings{
    ".safetensors", ".sft", ".ckpt", ".gguf", ".pt", ".pth", ".pt2", ".bin", ".pkl"};
// ComfyUI's folders of the files that its loaders list.
constexpr std::array<std::string_view, 18> kSubfolders{"",
                                                       "checkpoints",
                                                       "diffusion_models",
                                                       "unet",
                                                       "vae",
                                                       "text_encoders",
                                                       "clip",
                                                       "controlnet",
                                                       "t2i_adapter",
                                                       "loras",
                                                       "upscale_models",
                                                       "clip_vision",
                                                       "model_patches",
                                                       "latent_upscale_models",
                                                       "background_removal",
                                                       "geometry_estimation",
                                                       "audio_encoders",
                                                       "ipadapter"};

// A VAE that ComfyUI has without a file.
constexpr std::string_view kPixelSpace = "pixel_space";

bool looks_like_model(std::string_view name) {
    const std::string lower = to_lower_ascii(name);
    return std::ranges::any_of(kModelEndings,
                               [&](std::string_view ending) { return lower.ends_with(ending); });
}

}  // namespace

std::vector<std::string> catalogue_families() {
    return modelfile::known_model_names();
}

Result<SharedContents> catalogue_contents(std::string_view family) {
    TRY_ASSIGN(const SharedContents known, memory::known_checkpoint(family));
    auto contents = std::make_shared<modelfile::Contents>(*known);
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

namespace {

// In which of ComfyUI's folders the file lies that a loader's input names; empty where its networks
// are not forecast from names.
std::string_view folder_of(const workflow::Node& node, std::string_view input) {
    const workflow::NodeKind* kind = workflow::find_node_kind(node.class_type);
    if (kind != nullptr && !kind->folder.empty()) return kind->folder;
    if (input == "ckpt_name") return "checkpoints";
    if (input == "unet_name") return "diffusion_models";
    if (input == "vae_name") return "vae";
    if (input == "control_net_name") return "controlnet";
    const bool is_encoder = input.starts_with("clip_name") || input == "text_encoder";
    return is_encoder ? "text_encoders" : "";
}

// What a file that is not on this machine would hold by its name, with a warning in any case.
SharedContents guess(const std::string& name, std::string_view folder, Phrases& warnings) {
    std::optional<modelfile::NamedFile> file = modelfile::guess_file(name, folder);
    // A checkpoint whose name tells nothing is most often one of the Stable Diffusion family.
    if (!file && folder == "checkpoints" && !modelfile::is_named_but_unknown(name, folder)) {
        file.emplace();
        file->name = guess_family_of_file(name, 1024);
    }
    if (file)
        if (auto contents = memory::known_file(*file, folder == "checkpoints")) {
            warnings.push_back(say<"note.guessed">(name, file->name));
            return std::move(*contents);
        }
    warnings.push_back(say<"note.not_guessed">(name));
    return nullptr;
}

}  // namespace

memory::ModelFiles ModelLibrary::files_of(const workflow::Graph& graph, Phrases& warnings) {
    memory::ModelFiles files;
    for (const workflow::Node& node : graph.nodes)
        for (const workflow::Input& input : node.inputs) {
            const auto* const name = std::get_if<std::string>(&input.value);
            if (name == nullptr || files.by_name.contains(*name)) continue;
            if (input.name == "vae_name" && *name == kPixelSpace) {
                if (auto none = memory::known_file(
                        {.kind = modelfile::NamedFile::Kind::Vae, .name = *name}, false))
                    files.by_name.emplace(*name, std::move(*none));
                continue;
            }
            const bool is_preview = input.name == "vae_name" && name->starts_with("tae");
            if (!is_preview && !looks_like_model(*name)) continue;
            if (const auto path = find(*name)) {
                if (auto contents = read(*path))
                    files.by_name.emplace(*name, std::move(*contents));
                else
                    warnings.push_back(say<"note.of_file">(*name, contents.error().message));
                continue;
            }
            if (auto guessed = guess(*name, folder_of(node, input.name), warnings))
                files.by_name.emplace(*name, std::move(guessed));
        }
    return files;
}

std::string family_of(const workflow::Graph& graph, const memory::ModelFiles& files) {
    for (const std::string_view input : {"ckpt_name", "unet_name"})
        for (const workflow::Node& node : graph.nodes) {
            const auto name = node.text_of(input);
            if (!name) continue;
            const auto file = files.by_name.find(std::string(*name));
            return file == files.by_name.end()
                       ? std::string()
                       : std::string(modelfile::family_name(file->second->family));
        }
    return {};
}

}  // namespace plimsoll::service
