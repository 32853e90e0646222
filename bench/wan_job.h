// SPDX-License-Identifier: Apache-2.0
//
// For benchmarks: text to video with Wan 2.1 14B, 832 x 480, 81 frames, 30 steps, on the reference
// card. The networks are the catalogue's; no file is needed.
#pragma once
#include "advisor/forecaster.h"
#include "memory/built_models.h"
#include "timing/cards.h"

#include <string>

namespace plimsoll::bench {

inline constexpr const char* kWanWorkflow = R"({
  "1": {"class_type": "UNETLoader", "inputs": {"unet_name": "wan.safetensors", "weight_dtype": "default"}},
  "2": {"class_type": "CLIPLoader", "inputs": {"clip_name": "umt5.safetensors", "type": "wan"}},
  "3": {"class_type": "VAELoader", "inputs": {"vae_name": "vae.safetensors"}},
  "4": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 0], "text": "a dragon above a lake"}},
  "5": {"class_type": "CLIPTextEncode", "inputs": {"clip": ["2", 0], "text": "blurry"}},
  "6": {"class_type": "EmptyHunyuanLatentVideo", "inputs": {"width": 832, "height": 480, "length": 81, "batch_size": 1}},
  "7": {"class_type": "KSampler", "inputs": {"model": ["1", 0], "positive": ["4", 0], "negative": ["5", 0],
        "latent_image": ["6", 0], "seed": 1, "steps": 30, "cfg": 6.0, "sampler_name": "uni_pc", "scheduler": "simple", "denoise": 1.0}},
  "8": {"class_type": "VAEDecode", "inputs": {"samples": ["7", 0], "vae": ["3", 0]}},
  "9": {"class_type": "SaveAnimatedWEBP", "inputs": {"images": ["8", 0], "filename_prefix": "x", "fps": 16, "lossless": false, "quality": 80, "method": "default"}}
})";

inline advisor::Surroundings wan_surroundings() {
    using modelfile::NamedFile;
    const auto file = [](NamedFile::Kind kind, const char* name, modelfile::DType dtype) {
        return memory::known_file({.kind = kind,
                                   .name = name,
                                   .dtype = dtype,
                                   .dtype_is_said = true,
                                   .scaled_fp8 = false},
                                  false)
            .value();
    };
    advisor::Surroundings around;
    auto& files = around.files.by_name;
    files["wan.safetensors"] =
        file(NamedFile::Kind::Model, "wan_t2v_14b", modelfile::DType::Float8E4M3);
    files["umt5.safetensors"] =
        file(NamedFile::Kind::TextEncoder, "umt5_xxl", modelfile::DType::Float16);
    files["vae.safetensors"] = file(NamedFile::Kind::Vae, "wan21", modelfile::DType::BFloat16);
    around.card = **timing::find_card("rtx3050-6gb");
    around.device = timing::device_from(around.card);
    return around;
}

}  // namespace plimsoll::bench
