// SPDX-License-Identifier: Apache-2.0
//
// A job: what is to be forecast. Plain values.
#pragma once
#include <plimsoll/settings.h>

#include <filesystem>
#include <optional>
#include <string>

namespace plimsoll {

// Exactly one of the five sources is set: `wishes.model`, or one of the four below. Wishes belong
// to a job that Plimsoll builds itself (a model, a model file, a family); a workflow brings its
// own.
struct Job {
    std::optional<std::filesystem::path> model_file;     // .safetensors, .ckpt, .gguf
    std::optional<std::string> family;                   // "sd15", "sdxl": no file is at hand
    std::optional<std::filesystem::path> workflow_file;  // API format, or a PNG that ComfyUI saved
    std::optional<std::string> workflow;                 // API format
    std::string prompt;
    Wishes wishes;
};

}  // namespace plimsoll
