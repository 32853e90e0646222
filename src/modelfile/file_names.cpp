// SPDX-License-Identifier: Apache-2.0
#include "modelfile/file_names.h"

#include "base/check.h"
#include "base/json.h"
#include "base/text.h"

#include <algorithm>
#include <array>
#include <map>
#include <utility>
#include <vector>

namespace plimsoll::embedded {
std::string_view file_names_json();
}

namespace plimsoll::modelfile {
namespace {

struct NameRule {
    std::string is;                // the whole name; empty: the words decide
    std::vector<std::string> has;  // all of them occur
    std::vector<std::string> none;
    std::string means;
    int linear_millibits = 0;  // of a dtype; of a model: where its name says int8
    std::string vae = {};
    std::string follower = {};
    bool reader = false;  // of images, though it lies beside diffusion models

    [[nodiscard]] bool fits(std::string_view lower) const {
        const auto occurs = [&](const std::string& word) {
            return lower.find(word) != std::string_view::npos;
        };
        if (!is.empty()) return lower == is;
        return std::ranges::all_of(has, occurs) && std::ranges::none_of(none, occurs);
    }
};
using Rules = std::vector<NameRule>;

std::vector<std::string> words_of(const json::value& rule, std::string_view key) {
    std::vector<std::string> words;
    if (const json::value* list = find(rule, key))
        for (const json::value& word : list->get_array()) words.emplace_back(word.get_string());
    return words;
}

std::map<std::string, Rules, std::less<>> read_rules() {
    // Compiled in: that it can be read is a promise of the build, not input.
    const Result<json::value> document = parse_json(embedded::file_names_json());
    CHECK(document.has_value());
    std::map<std::string, Rules, std::less<>> by_folder;
    for (const auto& [folder, list] : document->get_object()) {
        if (!list.is_array()) continue;  // the note on the source
        Rules rules;
        for (const json::value& rule : list.get_array())
            rules.push_back(
                {.is = std::string(find_string(rule, "is").value_or("")),
                 .has = words_of(rule, "has"),
                 .none = words_of(rule, "not"),
                 .means = std::string(
                     find_string(rule, "name").value_or(find_string(rule, "dtype").value_or(""))),
                 .linear_millibits =
                     static_cast<int>(find_int(rule, "linear_millibits").value_or(0)),
                 .vae = std::string(find_string(rule, "vae").value_or("")),
                 .follower = std::string(find_string(rule, "follower").value_or("")),
                 .reader = find_bool(rule, "reader").value_or(false)});
        by_folder.emplace(folder, std::move(rules));
    }
    return by_folder;
}

const NameRule* first_fitting(std::string_view folder, std::string_view lower) {
    static const auto by_folder = read_rules();
    const auto rules = by_folder.find(folder);
    if (rules == by_folder.end()) return nullptr;
    const auto found =
        std::ranges::find_if(rules->second, [&](const NameRule& r) { return r.fits(lower); });
    return found == rules->second.end() ? nullptr : &*found;
}

std::optional<DType> dtype_named(std::string_view name) {
    constexpr auto kTypes =
        std::to_array<std::pair<std::string_view, DType>>({{"F32", DType::Float32},
                                                           {"F16", DType::Float16},
                                                           {"BF16", DType::BFloat16},
                                                           {"F8_E4M3", DType::Float8E4M3},
                                                           {"F8_E5M2", DType::Float8E5M2},
                                                           {"I8", DType::Int8}});
    for (const auto& [text, type] : kTypes)
        if (text == name) return type;
    return std::nullopt;
}

// Lower case, without folders; empty where it is too long for a file's.
std::string bare_name(std::string_view file_name) {
    constexpr std::size_t kNameMax = 1024;  // chosen: longer than any path that is a file
    if (file_name.size() > kNameMax) return {};
    std::string lower = to_lower_ascii(file_name);
    if (const auto slash = lower.find_last_of("/\\"); slash != std::string::npos)
        lower.erase(0, slash + 1);
    return lower;
}

}  // namespace

bool is_named_but_unknown(std::string_view file_name, std::string_view folder) {
    const NameRule* rule = first_fitting(folder, bare_name(file_name));
    return rule != nullptr && rule->means.empty();
}

std::optional<NamedFile> guess_file(std::string_view file_name, std::string_view folder) {
    const std::string lower = bare_name(file_name);
    const NameRule* rule = first_fitting(folder, lower);
    // An empty meaning: a network that is not in the catalogue, which no later rule may claim.
    if (rule == nullptr || rule->means.empty()) return std::nullopt;
    NamedFile file;
    file.name = rule->means;
    file.vae = rule->vae;
    file.follower = rule->follower;
    if (folder == "text_encoders") file.kind = NamedFile::Kind::TextEncoder;
    if (folder == "controlnet") file.kind = NamedFile::Kind::ControlNet;
    if (folder == "audio_encoders") file.kind = NamedFile::Kind::AudioEncoder;
    if (folder == "model_patches") file.kind = NamedFile::Kind::ModelPatch;
    if (folder == "vae") file.kind = NamedFile::Kind::Vae;
    if (folder == "clip_vision") file.kind = NamedFile::Kind::ClipVision;
    if (folder == "upscale_models") file.kind = NamedFile::Kind::Upscaler;
    if (folder == "latent_upscale_models") file.kind = NamedFile::Kind::LatentUpscaler;
    if (rule->reader || folder == "background_removal" || folder == "geometry_estimation")
        file.kind = NamedFile::Kind::ImageReader;
    if (const NameRule* type = first_fitting("dtypes", lower)) {
        const auto dtype = dtype_named(type->means);
        const bool model = file.kind == NamedFile::Kind::Model && folder != "checkpoints";
        const bool packs = file.kind == NamedFile::Kind::TextEncoder || (model && !dtype);
        const int own = dtype == DType::Int8 ? rule->linear_millibits : 0;
        if (own > 0 || (packs && type->linear_millibits > 0)) {
            // The matrices of its layers are packed, all else is in 16 bit.
            file.dtype = DType::BFloat16;
            file.dtype_is_said = true;
            file.linear_millibits = own > 0 ? own : type->linear_millibits;
            return file;
        }
        if (!dtype) return std::nullopt;  // a quantisation that is not modelled
        file.dtype = *dtype;
        file.dtype_is_said = true;
        const bool fp8 = *dtype == DType::Float8E4M3 || *dtype == DType::Float8E5M2;
        file.scaled_fp8 = fp8 && lower.find("scaled") != std::string::npos;
    }
    return file;
}

}  // namespace plimsoll::modelfile
