// SPDX-License-Identifier: Apache-2.0
//
// The catalogue of known architectures (data/architectures.json, compiled in): configurations by
// name, for when no file is at hand. Read once, on first use; immutable afterwards.
//
// Threads: any number of readers.
#pragma once
#include "base/error.h"
#include "modelfile/network_config.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::modelfile {

// NotFound lists the names that there are. Names: "sd15", "sdxl_inpaint", "kl4", "clip_l"...
[[nodiscard]] Result<UnetConfig> known_unet(std::string_view name);
[[nodiscard]] Result<ControlNetConfig> known_controlnet(std::string_view name);
[[nodiscard]] Result<T2iAdapterConfig> known_t2i_adapter(std::string_view name);
[[nodiscard]] Result<KlVaeConfig> known_kl_vae(std::string_view name);
[[nodiscard]] Result<ClipTextConfig> known_clip(std::string_view name);
[[nodiscard]] std::vector<std::string> known_unet_names();

}  // namespace plimsoll::modelfile
