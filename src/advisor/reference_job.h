// SPDX-License-Identifier: Apache-2.0
//
// For tests and benchmarks: the SDXL text-to-image job on the reference card. The network's
// numbers are those of sd_xl_base_1.0 (its paper and reference configuration); no file is needed.
#pragma once
#include "advisor/forecaster.h"
#include "advisor/text_to_image.h"

#include <memory>
#include <string>

namespace plimsoll::advisor {

inline modelfile::Contents sdxl_contents() {
    using namespace modelfile;
    Contents contents;
    contents.family = Family::Sdxl;
    UnetConfig unet;
    unet.family = Family::Sdxl;
    unet.channel_mult = {1, 2, 4};
    unet.num_res_blocks = {2, 2, 2};
    unet.transformer_depth = {0, 0, 2, 2, 10, 10};
    unet.transformer_depth_output = {0, 0, 0, 2, 2, 2, 10, 10, 10};
    unet.transformer_depth_middle = 10;
    unet.context_dim = 2048;
    unet.adm_in_channels = 2816;
    unet.use_linear_in_transformer = true;
    contents.unet = Part<UnetConfig>{unet,
                                     {2'567'463'684, Bytes(5'134'927'368), DType::Float16, false},
                                     "model.diffusion_model."};
    contents.vae = Part<KlVaeConfig>{
        {}, {83'653'863, Bytes(167'307'726), DType::Float16, false}, "first_stage_model."};
    contents.text_encoders.push_back({{},
                                      {123'060'557, Bytes(246'121'114), DType::Float16, false},
                                      "conditioner.embedders.0.transformer."});
    ClipTextConfig clip_g{.name = "clip_g",
                          .layers = 32,
                          .hidden = 1280,
                          .intermediate = 5120,
                          .heads = 20,
                          .projection = 1280,
                          .activation = ClipActivation::Gelu};
    contents.text_encoders.push_back({clip_g,
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
