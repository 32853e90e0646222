// SPDX-License-Identifier: Apache-2.0
//
// Model files on this machine: where the names that workflows write are found, and what the files
// hold. Where no file is at hand (a remote ComfyUI) the catalogue of known architectures stands in,
// and the answer says so.
//
// Enters through: files.   Leaves through: FoundModel.   Threads: one ModelLibrary may be used from
// one thread at a time.
#pragma once
#include "base/error.h"
#include "base/phrase.h"
#include "memory/simulate.h"
#include "modelfile/network_config.h"
#include "service/config.h"
#include "service/profiles.h"
#include "workflow/graph.h"

#include <cstdint>
#include <filesystem>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::service {

using SharedContents = std::shared_ptr<const modelfile::Contents>;

// What a whole fp16 checkpoint of the family holds: UNet, VAE and text encoders of the catalogue.
// NotFound lists the families.
[[nodiscard]] Result<SharedContents> catalogue_contents(std::string_view family);
[[nodiscard]] std::vector<std::string> catalogue_families();

class ModelLibrary {
  public:
    explicit ModelLibrary(std::vector<std::filesystem::path> folders)
        : folders_(std::move(folders)) {}

    // The file that a loader's value names, in the folders themselves or in ComfyUI's subfolders of
    // them; nullopt when there is none. Values that leave the folders ("../x", "/x") are never
    // followed.
    [[nodiscard]] std::optional<std::filesystem::path> find(std::string_view name) const;

    // Reads the header and recognises the networks; the second time from memory unless size or time
    // of the file changed.
    [[nodiscard]] Result<SharedContents> read(const std::filesystem::path& path);

    // For every model file that the graph's loaders name and that is found: its contents.
    // Files that are not found get a guess from the catalogue by their names, with a warning; where
    // the name tells nothing they are left out, so that their phases are unknown.
    [[nodiscard]] memory::ModelFiles files_of(const workflow::Graph& graph, Phrases& warnings);

    [[nodiscard]] const std::vector<std::filesystem::path>& folders() const { return folders_; }

  private:
    struct Cached {
        std::uintmax_t size = 0;
        std::filesystem::file_time_type changed;
        SharedContents contents;
    };
    std::vector<std::filesystem::path> folders_;
    std::map<std::filesystem::path, Cached> cache_;
};

// Of the first checkpoint that the graph names, else of its first diffusion model: "sdxl"; empty
// where neither is known.
[[nodiscard]] std::string family_of(const workflow::Graph& graph, const memory::ModelFiles& files);

}  // namespace plimsoll::service
