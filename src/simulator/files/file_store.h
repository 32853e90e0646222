// SPDX-License-Identifier: Apache-2.0
//
// The folders of the simulated ComfyUI: input, output, temp and user. Every path that comes from a
// client is checked against its folder before it is used.
//
// Threads: any; the file system is the shared state.
#pragma once
#include "base/error.h"

#include <filesystem>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

class FileStore {
  public:
    // Everything below `root` (made if need be); pictures go to `output` where it is given. A root
    // that this object made itself vanishes with it.
    [[nodiscard]] static Result<FileStore> create(
        const std::optional<std::filesystem::path>& output);
    ~FileStore();
    FileStore(FileStore&& other) noexcept;
    FileStore(const FileStore&) = delete;
    FileStore& operator=(const FileStore&) = delete;
    FileStore& operator=(FileStore&&) = delete;

    // "input", "output", "temp"; nullopt for another word.
    [[nodiscard]] std::optional<std::filesystem::path> folder(std::string_view type) const;
    [[nodiscard]] std::filesystem::path user() const { return root_ / "user" / "default"; }
    [[nodiscard]] std::filesystem::path front_page() const { return root_ / "index.html"; }

    // base/sub, or nullopt when that lies outside of base.
    [[nodiscard]] static std::optional<std::filesystem::path> inside(
        const std::filesystem::path& base, std::string_view sub);

    // Pictures in the input folder itself, sorted: what LoadImage offers.
    [[nodiscard]] std::vector<std::string> input_pictures() const;
    // The path of "name [output]" as nodes mean it; type input where nothing is said.
    [[nodiscard]] std::optional<std::filesystem::path> annotated_path(std::string_view name) const;

  private:
    FileStore(std::filesystem::path root, std::filesystem::path output);
    std::filesystem::path root_;
    std::filesystem::path output_;
};

// Writes a file without waiting for the disk, as Python does: these folders are not meant to last.
[[nodiscard]] Result<void> write_file(const std::filesystem::path& path, std::string_view bytes);

// "name.png [temp]" into name and type; the type is empty where nothing is said.
struct AnnotatedName {
    std::string name;
    std::string type;
};
[[nodiscard]] AnnotatedName split_annotation(std::string_view name);

}  // namespace plimsoll::simulator
