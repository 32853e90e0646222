// SPDX-License-Identifier: Apache-2.0
//
// The networks of model files, built once and then shared by every forecast: immutable, usable from
// any number of threads. And what ComfyUI's loader sees of them.
#pragma once
#include "base/error.h"
#include "memory/built_text_encoders.h"
#include "memory/compute_type.h"
#include "modelfile/file_names.h"
#include "modelfile/network_config.h"

#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::memory {

class ClipVisionNetwork;
class ControlNetNetwork;
class ModelPatchNetwork;
class Network;
class Denoiser;
class AudioEncoder;
class ImageReader;
class LatentUpscaler;
class Upscaler;
class Vae;
struct LaunchFlags;
struct LoadableModel;
struct Types;

// The model files that a workflow's loader nodes name. Keys: file names exactly as the workflow
// writes them. A name that is missing makes the phases that need it Unknown, never wrong.
struct ModelFiles {
    std::map<std::string, std::shared_ptr<const modelfile::Contents>> by_name;
};

// One file's networks; a pointer is empty where the file has none or its numbers contradict each
// other (then `notes` says so).
struct BuiltFile {
    std::shared_ptr<const modelfile::Contents> contents;
    std::shared_ptr<const Denoiser> denoiser;
    std::vector<BuiltTextEncoder> text_encoders;
    std::shared_ptr<const Vae> vae;
    // What a loader of its VAE for sound sees: a file of that alone.
    std::shared_ptr<const BuiltFile> sound;
    std::shared_ptr<const ControlNetNetwork> controlnet;
    std::shared_ptr<const ClipVisionNetwork> clip_vision;
    std::shared_ptr<const Upscaler> upscaler;
    std::shared_ptr<const LatentUpscaler> latent_upscaler;
    std::shared_ptr<const ModelPatchNetwork> model_patch;
    std::shared_ptr<const ImageReader> image_reader;
    std::shared_ptr<const AudioEncoder> audio_encoder;
    std::vector<std::string> notes;
};
[[nodiscard]] BuiltFile build_file(std::shared_ptr<const modelfile::Contents> contents);

struct BuiltModels {
    std::map<std::string, std::shared_ptr<const BuiltFile>, std::less<>> by_name;

    [[nodiscard]] std::shared_ptr<const BuiltFile> find(std::string_view name) const;
};
[[nodiscard]] BuiltModels build_models(const ModelFiles& files);

// What a whole 16-bit checkpoint of a known architecture holds ("sdxl", "flux_dev"...), for when no
// file is at hand. NotFound lists the names.
[[nodiscard]] Result<std::shared_ptr<const modelfile::Contents>> known_checkpoint(
    std::string_view family);

// The same for a file whose name is all that is known of it.
[[nodiscard]] Result<std::shared_ptr<const modelfile::Contents>> known_file(
    const modelfile::NamedFile& file, bool whole_checkpoint);

// The loader's view of a part; `name` is for people. The networks outlive it.
[[nodiscard]] std::shared_ptr<LoadableModel> loadable_unet(std::string name, const BuiltFile& file,
                                                           const Types& types);
[[nodiscard]] std::shared_ptr<LoadableModel> loadable_text_encoders(
    std::string name, std::span<const BuiltTextEncoder> encoders, const LaunchFlags& flags);
[[nodiscard]] std::shared_ptr<LoadableModel> loadable_vae(std::string name, const Vae& vae,
                                                          ComputeType type);
// A ControlNet, a model patch, or what looks at images.
[[nodiscard]] std::shared_ptr<LoadableModel> loadable_network(std::string name,
                                                              const Network& network,
                                                              const Types& types);

[[nodiscard]] std::shared_ptr<LoadableModel> loadable_clip_vision(std::string name,
                                                                  const ClipVisionNetwork& network,
                                                                  const Types& types);
[[nodiscard]] std::shared_ptr<LoadableModel> loadable_upscaler(std::string name,
                                                               const Upscaler& network);

// By unit: the linear layers of repeated blocks, which a usual LoRA patches; of a UNet those of its
// transformer blocks.
[[nodiscard]] std::vector<std::uint8_t> transformer_linears(const LoadableModel& model);

}  // namespace plimsoll::memory
