// SPDX-License-Identifier: Apache-2.0
#include "service/comfyui/output_folder.h"

#include "base/json.h"

#include <algorithm>
#include <array>
#include <cstddef>
#include <filesystem>
#include <optional>

namespace plimsoll::service {

namespace fs = std::filesystem;

namespace {

constexpr std::size_t kFoldersMax = 16;        // chosen: one is right
constexpr std::size_t kPathBytesMax = 4096;    // PATH_MAX of Linux
constexpr std::size_t kPathsOfKindMax = 1000;  // chosen: people have a handful

void add(std::vector<std::string>& folders, const fs::path& path) {
    const std::string text = path.lexically_normal().string();
    if (!path.is_absolute() || text.size() > kPathBytesMax || text.contains('\0')) return;
    if (folders.size() < kFoldersMax && std::ranges::find(folders, text) == folders.end())
        folders.push_back(text);
}

// The value of "--name value" or "--name=value"; the last counts, as for Python's argparse.
std::optional<std::string> option(const std::vector<std::string>& argv, std::string_view name) {
    std::optional<std::string> value;
    for (std::size_t i = 0; i < argv.size(); ++i) {
        const std::string_view word = argv[i];
        if (word == name && i + 1 < argv.size()) value = argv[i + 1];
        if (word.starts_with(name) && word.substr(name.size()).starts_with('='))
            value = std::string(word.substr(name.size() + 1));
    }
    return value;
}

// The parents of the folders of that kind that are named like it.
std::vector<std::string> parents_of(const json::value& paths, std::string_view kind) {
    std::vector<std::string> parents;
    const json::value* const list = find(paths, kind);
    if (list == nullptr || !list->is_array()) return parents;
    for (const json::value& one : list->get_array()) {
        if (!one.is_string() || parents.size() >= kPathsOfKindMax) continue;
        const fs::path path(std::string(one.get_string()));
        if (path.filename() == kind) parents.push_back(path.parent_path().string());
    }
    return parents;
}

}  // namespace

std::vector<std::string> output_folders_of_argv(const std::vector<std::string>& argv) {
    std::vector<std::string> folders;
    if (const auto output = option(argv, "--output-directory")) {
        add(folders, *output);
        return folders;
    }
    if (const auto base = option(argv, "--base-directory")) {
        add(folders, fs::path(*base) / "output");
        return folders;
    }
    if (!argv.empty()) {
        const fs::path program(argv.front());
        if (program.filename() == "main.py") add(folders, program.parent_path() / "output");
    }
    return folders;
}

std::vector<std::string> output_folders_of_paths(std::string_view folder_paths) {
    constexpr std::array<std::string_view, 2> kOthers{"vae", "loras"};
    std::vector<std::string> folders;
    const auto parsed = parse_python_json(folder_paths);
    if (!parsed) return folders;
    for (const std::string& parent : parents_of(*parsed, "checkpoints")) {
        const bool has_others = std::ranges::all_of(kOthers, [&](std::string_view kind) {
            const auto parents = parents_of(*parsed, kind);
            return std::ranges::find(parents, parent) != parents.end();
        });
        if (has_others) add(folders, parent);
    }
    // "models" holds them too, and comes first.
    std::ranges::reverse(folders);
    return folders;
}

}  // namespace plimsoll::service
