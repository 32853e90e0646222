// SPDX-License-Identifier: Apache-2.0
//
// For tests and benchmarks: the SDXL text-to-image job on the reference card. The
// networks are the catalogue's; no file is needed.
#pragma once
#include "advisor/forecaster.h"
#include "advisor/text_to_image.h"
#include "modelfile/architectures.h"

#include <memory>
#include <string>

namespace plimsoll::advisor {

inline modelfile::Contents sdxl_contents() {
    using modelfile::DType;
    modelfile::Contents contents;
    contents.family = modelfile::Family::Sdxl;
    contents.denoiser = modelfile::Part<modelfile::DenoiserConfig>{
        *modelfile::known_unet("sdxl"),
        {2'567'463'684, Bytes(5'134'927'368), DType::Float16, false},
        "model.diffusion_model."};
    contents.vae = modelfile::Part<modelfile::VaeConfig>{
        *modelfile::known_kl_vae("kl4"),
        {83'653'863, Bytes(167'307'726), DType::Float16, false},
        "first_stage_model."};
    contents.text_encoders.push_back({*modelfile::known_clip("clip_l"),
                                      {123'060'557, Bytes(246'121'114), DType::Float16, false},
                                      "conditioner.embedders.0.transformer."});
    contents.text_encoders.push_back({*modelfile::known_clip("clip_g"),
                                      {694'659'841, Bytes(1'389'319'682), DType::Float16, false},
                                      "conditioner.embedders.1.model."});
    contents.everything = {3'468'837'945, Bytes(6'937'675'890), DType::Float16, false};
    return contents;
}

inline constexpr const char* kCheckpoint = "sd_xl_base_1.0.safetensors";

inline std::string sdxl_workflow(int width = 1024, int height = 1024, int batch = 1) {
    return build_text_to_image(
        {.model = "sdxl-base", .width = width, .height = height, .steps = 28, .batch = batch},
        kCheckpoint, "cute dragon character", "lowres, blurry");
}

inline Surroundings reference_surroundings() {
    Surroundings around;
    around.files.by_name[kCheckpoint] =
        std::make_shared<const modelfile::Contents>(sdxl_contents());
    around.card = **timing::find_card("rtx3050-6gb");
    around.device = timing::device_from(around.card);
    return around;
}

}  // namespace plimsoll::advisor
