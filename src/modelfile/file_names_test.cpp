// SPDX-License-Identifier: Apache-2.0
//
// Goal: the names of published files tell their networks, and names of networks that are not
// modelled are nobody else's. Method: names as the public templates write them.
#include "modelfile/file_names.h"

#include "modelfile/architectures.h"

#include <gtest/gtest.h>

namespace plimsoll::modelfile {
namespace {

std::string name_of(std::string_view file, std::string_view folder) {
    const auto guess = guess_file(file, folder);
    return guess ? guess->name : "";
}

TEST(FileNames, tell_the_published_networks) {
    constexpr std::string_view kUnets = "diffusion_models";
    EXPECT_EQ(name_of("flux1-fill-dev.safetensors", kUnets), "flux_fill");
    EXPECT_EQ(name_of("flux1-dev-kontext_fp8_scaled.safetensors", kUnets), "flux_dev");
    EXPECT_EQ(name_of("flux1-krea-dev_fp8_scaled.safetensors", kUnets), "flux_dev");
    EXPECT_EQ(name_of("flux-2-klein-base-9b-fp8.safetensors", kUnets), "flux2_klein_9b");
    EXPECT_EQ(name_of("FLUX1/Qwen_Image_2512_fp8_e4m3fn.safetensors", kUnets), "qwen_image");
    EXPECT_EQ(name_of("wan2.1_vace_14B_fp16.safetensors", kUnets), "wan_vace_14b");
    EXPECT_EQ(name_of("wan2.2_i2v_high_noise_14B_fp8_scaled.safetensors", kUnets), "wan22_i2v_14b");
    EXPECT_EQ(name_of("umt5_xxl_fp8_e4m3fn_scaled.safetensors", "text_encoders"), "umt5_xxl");
    EXPECT_EQ(name_of("t5xxl_fp16.safetensors", "text_encoders"), "t5_xxl");
    EXPECT_EQ(name_of("seedvr2_3b_int8_convrot.safetensors", kUnets), "seedvr2_3b");
    EXPECT_EQ(name_of("seedvr2_ema_vae_fp16.safetensors", "vae"), "seedvr2");
    EXPECT_EQ(name_of("minimax_h3_audio_vae_fp32.safetensors", "vae"), "minimax_h3_audio");
    EXPECT_EQ(name_of("minimax_h3_video_vae_int8_convrot.safetensors", "vae"), "minimax_h3");
    EXPECT_EQ(name_of("ltx-2.5-audio-vae-bf16.safetensors", "vae"), "ltx2.3_audio");
    EXPECT_EQ(name_of("ae.safetensors", "vae"), "kl16");
    EXPECT_EQ(name_of("qwen_image_layered_control_bf16.safetensors", kUnets), "qwen_image_layered");
    EXPECT_EQ(name_of("hidream_o1_image_dev_fp8_scaled.safetensors", "checkpoints"), "hidream_o1");
    EXPECT_EQ(name_of("Qwen-Image-2512-Fun-Controlnet-Union-2602.safetensors", "controlnet"),
              "qwen_image_fun_union");
    EXPECT_EQ(name_of("Z-Image-Turbo-Fun-Controlnet-Union.safetensors", "model_patches"),
              "z_image_fun_union");
    EXPECT_EQ(name_of("sd_xl_base_1.0.safetensors", "checkpoints"), "sdxl");
    EXPECT_EQ(name_of("stable_audio_3_medium_base.safetensors", "checkpoints"),
              "stable_audio_3_medium");
    EXPECT_EQ(name_of("joyai_image_edit_int8_convrot.safetensors", kUnets), "joyai_image_edit");
    EXPECT_EQ(name_of("ming_image_0.1_design_int8_convrot.safetensors", kUnets), "ming_image");
    EXPECT_EQ(name_of("ming_image_vae_bf16.safetensors", "vae"), "qwen_image_layered");
    EXPECT_EQ(name_of("minimax_music3_dav.safetensors", "vae"), "minimax_music3");
    EXPECT_EQ(name_of("flux2-vae_small.safetensors", "vae"), "flux2_small");
}

// The encoder of LTX 2.5 comes in one file with the projection of its states.
TEST(FileNames, tell_the_second_network_of_a_file) {
    const auto named =
        guess_file("gemma4-12b-with-proj-ltx-2.5-comfy-int8-convrot.safetensors", "text_encoders");
    ASSERT_TRUE(named);
    EXPECT_EQ(named->name, "gemma4_12b");
    EXPECT_EQ(named->follower, "ltx2.3_projection");
    EXPECT_TRUE(known_text_encoder(named->follower));
}

TEST(FileNames, tell_latent_upsamplers) {
    constexpr std::string_view kFolder = "latent_upscale_models";
    EXPECT_EQ(guess_file("ltx-2-spatial-upscaler-x2-1.0.safetensors", kFolder)->kind,
              NamedFile::Kind::LatentUpscaler);
    EXPECT_EQ(name_of("ltx-2-spatial-upscaler-x2-1.0.safetensors", kFolder), "ltx2_spatial");
    EXPECT_EQ(name_of("ltx-2.3-spatial-upscaler-x2-1.1.safetensors", kFolder), "ltx2_spatial");
    EXPECT_EQ(name_of("ltx-2.5-latent-spatial-upscaler-x2-bf16-1.0.safetensors", kFolder),
              "ltx2_spatial");
    EXPECT_EQ(name_of("ltx-2.3-spatial-upscaler-x1.5-1.0.safetensors", kFolder),
              "ltx2_spatial_x1.5");
    EXPECT_EQ(name_of("ltx-2.3-temporal-upscaler-x2-1.0.safetensors", kFolder), "ltxv_temporal");
    EXPECT_EQ(name_of("ltxv-spatial-upscaler-0.9.8.safetensors", kFolder), "ltxv_spatial");
    EXPECT_EQ(name_of("hunyuanvideo15_latent_upsampler_1080p.safetensors", kFolder), "");
}

TEST(FileNames, leave_networks_alone_that_are_not_modelled) {
    EXPECT_EQ(name_of("Wan2_1_InfiniteTalk_s2v_14B.safetensors", "diffusion_models"), "");
    EXPECT_EQ(name_of("ltx-2.5-22b-distilled.safetensors", "diffusion_models"), "");
    EXPECT_EQ(name_of("wan2.1_fun_control_1.3B.safetensors", "diffusion_models"), "");
    EXPECT_EQ(name_of("my_own_training.safetensors", "diffusion_models"), "");
    EXPECT_EQ(name_of("ae.safetensors", "no such folder"), "");
    EXPECT_EQ(name_of(std::string(5000, 'x') + "flux1-dev.safetensors", "diffusion_models"), "");
}

TEST(FileNames, tell_the_stored_type) {
    const auto scaled = guess_file("t5xxl_fp8_e4m3fn_scaled.safetensors", "text_encoders");
    ASSERT_TRUE(scaled);
    EXPECT_EQ(scaled->dtype, DType::Float8E4M3);
    EXPECT_TRUE(scaled->scaled_fp8);
    EXPECT_EQ(guess_file("flux1-dev-fp8_e5m2.safetensors", "diffusion_models")->dtype,
              DType::Float8E5M2);
    EXPECT_EQ(guess_file("z_image_int8_convrot.safetensors", "diffusion_models")->dtype,
              DType::Int8);
    EXPECT_FALSE(guess_file("flux1-dev.safetensors", "diffusion_models")->dtype_is_said);
    // Packed below a byte: by the format's bits.
    EXPECT_EQ(guess_file("flux1-dev-Q4_K_S.gguf", "diffusion_models")->linear_millibits, 4500);
    EXPECT_EQ(guess_file("z_image_nvfp4.safetensors", "diffusion_models")->linear_millibits, 4500);
    EXPECT_EQ(guess_file("qwen3.5_9b_w4a8_gptq.safetensors", "text_encoders")->linear_millibits,
              4508);
    EXPECT_FALSE(guess_file("flux1-dev-IQ4_XS.gguf", "diffusion_models"));
    // Rows of one byte an element with a scale each, the rest in 16 bit.
    const auto rows = guess_file("ltx-2.5-22b-distilled-transformer-comfy-int8-convrot.safetensors",
                                 "diffusion_models");
    ASSERT_TRUE(rows);
    EXPECT_EQ(rows->linear_millibits, 8008);
    EXPECT_EQ(guess_file("ltx-2.5-22b-distilled-transformer-bf16.safetensors", "diffusion_models")
                  ->linear_millibits,
              0);
}

TEST(FileNames, mean_what_the_catalogue_has) {
    for (const auto& [file, folder] :
         {std::pair{"flux2_dev_fp8mixed.safetensors", "diffusion_models"},
          std::pair{"anima-base-v1.0.safetensors", "diffusion_models"},
          std::pair{"NetaYumev35_pretrained_all_in_one.safetensors", "checkpoints"}})
        EXPECT_TRUE(known_model(name_of(file, folder))) << file;
}

}  // namespace
}  // namespace plimsoll::modelfile
