// SPDX-License-Identifier: Apache-2.0
#include "simulator/card/model_files.h"

#include "base/check.h"
#include "base/json.h"
#include "simulator/card/recorded.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::embedded {
std::string_view simulator_models();
}  // namespace plimsoll::embedded

namespace plimsoll::simulator {

namespace {

constexpr std::int64_t kHeaderBytes = 100'000;  // about what a safetensors header takes; chosen

std::string text_of(const json::value& entry, std::string_view key) {
    return std::string(find_string(entry, key).value_or(""));
}

std::int64_t network_bytes(std::string_view network, double share = 1) {
    std::int64_t sum = 0;
    for (const ModuleBytes& module : recorded_modules(network)) sum += module.bytes;
    return static_cast<std::int64_t>(std::llround(static_cast<double>(sum) * share));
}

ModelFile read_file(const json::value& entry) {
    ModelFile file{
        .folder = text_of(entry, "folder"),
        .name = text_of(entry, "name"),
        .bytes = find_int(entry, "bytes").value_or(0),
        .unet = text_of(entry, "unet"),
        .text = {},
        .vae = text_of(entry, "vae"),
        .controlnet = text_of(entry, "controlnet"),
        .upscale = text_of(entry, "upscale"),
        .share = find_number(entry, "share").value_or(1),
        .native_side = static_cast<int>(find_int(entry, "native_side").value_or(512)),
        .forward_seconds = find_number(entry, "forward_seconds").value_or(0),
        .forward_seconds_per_cell = find_number(entry, "forward_seconds_per_cell").value_or(0),
        .title = text_of(entry, "title"),
        .architecture = text_of(entry, "architecture"),
        .recorded = find_bool(entry, "recorded").value_or(false)};
    if (const auto* const text = find(entry, "text"))
        for (const auto& network : text->as_array()) file.text.emplace_back(network.as_string());
    if (file.bytes > 0) return file;
    file.bytes = kHeaderBytes + network_bytes(file.unet, file.share) + network_bytes(file.vae) +
                 network_bytes(file.controlnet) + network_bytes(file.upscale);
    for (const std::string& network : file.text) file.bytes += network_bytes(network);
    return file;
}

}  // namespace

ModelFiles::ModelFiles(bool only_recorded) {
    const auto parsed = parse_json(embedded::simulator_models());
    CHECK(parsed);
    for (const auto& entry : parsed->as_array()) {
        ModelFile file = read_file(entry);
        if (file.recorded || !only_recorded) files_.push_back(std::move(file));
    }
    std::ranges::sort(files_, {}, &ModelFile::name);
}

const ModelFile* ModelFiles::find(std::string_view folder, std::string_view name) const {
    const auto found = std::ranges::find_if(
        files_, [&](const ModelFile& file) { return file.folder == folder && file.name == name; });
    return found == files_.end() ? nullptr : &*found;
}

std::vector<const ModelFile*> ModelFiles::in_folder(std::string_view folder) const {
    std::vector<const ModelFile*> found;
    for (const ModelFile& file : files_)
        if (file.folder == folder) found.push_back(&file);
    return found;
}

}  // namespace plimsoll::simulator
