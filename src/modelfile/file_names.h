// SPDX-License-Identifier: Apache-2.0
//
// What a model file probably holds, by its name alone: for when the file is not on this machine (a
// remote ComfyUI, a workflow that somebody sent). A guess, and said to be one. The rules are data
// (data/file_names.json, compiled in).
//
// Threads: any number of readers.
#pragma once
#include "modelfile/tensor_table.h"

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::modelfile {

struct NamedFile {
    enum class Kind : std::uint8_t {
        Model,
        TextEncoder,
        Vae,
        ControlNet,
        ClipVision,
        Upscaler,
        LatentUpscaler,
        ModelPatch,
        ImageReader,
        AudioEncoder
    };
    Kind kind = Kind::Model;
    std::string name;  // of known_model, known_text_encoder...
    DType dtype = DType::Float16;
    bool dtype_is_said = false;  // by the name; else it is the published file's usual one
    bool scaled_fp8 = false;
    int linear_millibits = 0;  // as PartWeights has it
    std::string vae = {};  // of a model whose versions have different ones; empty: its usual one
    // In the same file, of a text encoder: what works on its states; of an image reader: what reads
    // the texts. Empty: nothing does.
    std::string follower = {};
};

// `folder`: in which of ComfyUI's folders it would lie: "diffusion_models", "text_encoders", "vae",
// "checkpoints", "controlnet", "clip_vision", "upscale_models", "latent_upscale_models",
// "model_patches", "background_removal", "geometry_estimation", "audio_encoders". nullopt where no
// rule fits.
[[nodiscard]] std::optional<NamedFile> guess_file(std::string_view file_name,
                                                  std::string_view folder);

// Whether a rule knows the name as that of a network that the catalogue has not.
[[nodiscard]] bool is_named_but_unknown(std::string_view file_name, std::string_view folder);

}  // namespace plimsoll::modelfile
