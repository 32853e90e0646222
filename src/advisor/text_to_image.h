// SPDX-License-Identifier: Apache-2.0
//
// The text-to-image workflow of ComfyUI's default graph in API format, for every family whose one
// checkpoint file holds UNet, text encoders and VAE (SD 1.x, 2.x, SDXL and their relatives). Ids
// and class names are ComfyUI's own: 4 CheckpointLoaderSimple, 5 EmptyLatentImage, 6 and 7
// CLIPTextEncode, 3 KSampler, 8 VAEDecode, 9 SaveImage.
#pragma once
#include "advisor/settings.h"

#include <string>
#include <string_view>

namespace plimsoll::advisor {

// `checkpoint` is the file as ComfyUI lists it. Always valid JSON, whatever bytes the prompts hold:
// what is not UTF-8 is replaced by U+FFFD.
[[nodiscard]] std::string build_text_to_image(const Settings& settings, std::string_view checkpoint,
                                              std::string_view prompt, std::string_view negative,
                                              std::string_view filename_prefix = "plimsoll");

// The prompt with the profile's style words behind it.
[[nodiscard]] std::string styled_prompt(const ModelProfile& profile, std::string_view prompt);

}  // namespace plimsoll::advisor
