// SPDX-License-Identifier: Apache-2.0
//
// The model files that the simulated server has on its disk. Threads: immutable.
#pragma once
#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::simulator {

struct ModelFile {
    std::string folder;  // as ComfyUI names it: "checkpoints"
    std::string name;
    std::int64_t bytes = 0;
    std::string unet;  // networks of the recordings; empty where the file has none
    std::vector<std::string> text;
    std::string vae;
    std::string controlnet;
    std::string upscale;
    double share = 1;  // of the UNet's recorded sizes
    int native_side = 512;
    // A forward takes at least so long, as it did where it was recorded.
    double forward_seconds = 0;
    double forward_seconds_per_cell = 0;
    std::string title;
    std::string architecture;  // of modelspec metadata
    bool recorded = false;     // one of the two that the recordings used

    [[nodiscard]] bool is_xl() const { return unet.starts_with("sdxl"); }
};

class ModelFiles {
  public:
    // `only_recorded`: nothing but the two models of the recordings.
    explicit ModelFiles(bool only_recorded);
    [[nodiscard]] const ModelFile* find(std::string_view folder, std::string_view name) const;
    // Sorted by name, as ComfyUI lists them.
    [[nodiscard]] std::vector<const ModelFile*> in_folder(std::string_view folder) const;

  private:
    std::vector<ModelFile> files_;
};

}  // namespace plimsoll::simulator
