// SPDX-License-Identifier: Apache-2.0
//
// Model patches of Qwen-Image (DiffSynth-Studio's block-wise ControlNets), Z-Image (Fun
// ControlNets) and Anima (LLLite).
//
// Sources: DiffSynth-Studio and VideoX-Fun (Apache-2.0), sd-scripts' description of LLLite; which
// tensors live when ComfyUI runs them.
#pragma once
#include "base/error.h"
#include "memory/networks/model_patch.h"
#include "modelfile/networks/model_patch_config.h"

namespace plimsoll::memory {

[[nodiscard]] Result<std::shared_ptr<const ModelPatchNetwork>> build_qwen_patch(
    const modelfile::QwenPatchConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ModelPatchNetwork>> build_z_image_patch(
    const modelfile::ZImagePatchConfig& config);
[[nodiscard]] Result<std::shared_ptr<const ModelPatchNetwork>> build_anima_patch(
    const modelfile::AnimaPatchConfig& config);

}  // namespace plimsoll::memory
