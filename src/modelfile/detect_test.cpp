// SPDX-License-Identifier: Apache-2.0
// Goal: a file's networks and their numbers are told from tensor shapes. Method: listings of whole
// networks (recorded from the real Python modules) under the prefixes of real files; variants are
// made by taking transformer blocks away.
#include "modelfile/detect.h"

#include "modelfile/listing_fixture.h"

#include <gmock/gmock.h>

#include <ostream>
#include <tuple>

namespace plimsoll::modelfile {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;

constexpr std::string_view kUnet = "model.diffusion_model.";

TensorTable under(std::string_view prefix, const TensorTable& table) {
    return join_tables({{std::string(prefix), &table}});
}

struct Known {
    std::string listing;
    Family family;
    int in_channels;

    // For the list of tests; else gtest shows bytes.
    friend void PrintTo(const Known& shown, std::ostream* out) { *out << shown.listing; }
};

class DetectUnet : public testing::TestWithParam<Known> {};

TEST_P(DetectUnet, by_its_shapes_with_and_without_a_prefix) {
    const TensorTable network = listed_network(GetParam().listing);
    for (const std::string_view prefix : {kUnet, std::string_view("")}) {
        const Contents contents = detect_contents(under(prefix, network));
        EXPECT_EQ(contents.family, GetParam().family);
        ASSERT_TRUE(contents.denoiser);
        EXPECT_EQ(contents.denoiser->prefix, prefix);
        EXPECT_EQ(std::get<UnetConfig>(contents.denoiser->config).in_channels,
                  GetParam().in_channels);
        EXPECT_EQ(contents.denoiser->weights.params, contents.everything.params);
        EXPECT_FALSE(contents.controlnet);
        EXPECT_FALSE(contents.t2i_adapter);
        EXPECT_FALSE(contents.vae);
        EXPECT_FALSE(contents.tiny_vae);
        EXPECT_TRUE(contents.text_encoders.empty());
    }
}

INSTANTIATE_TEST_SUITE_P(
    Known, DetectUnet,
    testing::Values(Known{"sd15", Family::Sd15, 4}, Known{"sd15_inpaint9", Family::Sd15, 9},
                    Known{"sd21", Family::Sd20, 4}, Known{"sdxl", Family::Sdxl, 4},
                    Known{"sdxl_inpaint9", Family::Sdxl, 9}, Known{"svd", Family::Svd, 8}),
    [](const auto& test) { return test.param.listing; });

TEST(DetectContents, reads_every_number_of_sd15) {
    // Constructor arguments of Stable Diffusion 1.5's published v1-inference.yaml; params of its
    // UNet: 859,520,964.
    const Contents contents = detect_contents(under(kUnet, listed_network("sd15")));
    ASSERT_TRUE(contents.denoiser);
    const UnetConfig& unet = std::get<UnetConfig>(contents.denoiser->config);
    EXPECT_EQ(contents.denoiser->weights.params, 859'520'964);
    EXPECT_EQ(contents.denoiser->weights.dtype, DType::Float16);
    EXPECT_EQ(unet.model_channels, 320);
    EXPECT_THAT(unet.channel_mult, ElementsAre(1, 2, 4, 4));
    EXPECT_THAT(unet.num_res_blocks, ElementsAre(2, 2, 2, 2));
    EXPECT_THAT(unet.transformer_depth, ElementsAre(1, 1, 1, 1, 1, 1, 0, 0));
    EXPECT_THAT(unet.transformer_depth_output, ElementsAre(1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0));
    EXPECT_EQ(unet.transformer_depth_middle, 1);
    EXPECT_EQ(unet.context_dim, 768);
    EXPECT_EQ(unet.adm_in_channels, 0);
    EXPECT_FALSE(unet.use_linear_in_transformer);
    EXPECT_EQ(unet.num_heads, 8);
    EXPECT_EQ(unet.out_channels, 4);
}

TEST(DetectContents, reads_every_number_of_sdxl) {
    // Constructor arguments of SDXL's published sd_xl_base.yaml; params of its UNet: 2,567,463,684.
    const Contents contents = detect_contents(under(kUnet, listed_network("sdxl")));
    ASSERT_TRUE(contents.denoiser);
    const UnetConfig& unet = std::get<UnetConfig>(contents.denoiser->config);
    EXPECT_EQ(contents.denoiser->weights.params, 2'567'463'684);
    EXPECT_THAT(unet.channel_mult, ElementsAre(1, 2, 4));
    EXPECT_THAT(unet.transformer_depth, ElementsAre(0, 0, 2, 2, 10, 10));
    EXPECT_THAT(unet.transformer_depth_output, ElementsAre(0, 0, 0, 2, 2, 2, 10, 10, 10));
    EXPECT_EQ(unet.transformer_depth_middle, 10);
    EXPECT_EQ(unet.context_dim, 2048);
    EXPECT_EQ(unet.adm_in_channels, 2816);
    EXPECT_TRUE(unet.use_linear_in_transformer);
    EXPECT_EQ(unet.num_heads, -1);
    EXPECT_EQ(unet.num_head_channels, 64);
}

TEST(DetectContents, finds_all_parts_of_a_checkpoint) {
    const TensorTable unet = listed_network("sdxl");
    const TensorTable vae = listed_network("kl_vae");
    const TensorTable clip_l = listed_network("clip_l");
    const TensorTable clip_g = listed_network("clip_g");
    const Contents contents = detect_contents(join_tables({{std::string(kUnet), &unet},
                                                           {"first_stage_model.", &vae},
                                                           {"conditioner.embedders.0.", &clip_l},
                                                           {"conditioner.embedders.1.", &clip_g}}));
    EXPECT_EQ(contents.family, Family::Sdxl);
    ASSERT_TRUE(contents.vae);
    EXPECT_EQ(std::get<KlVaeConfig>(contents.vae->config).z_channels, 4);
    EXPECT_TRUE(std::get<KlVaeConfig>(contents.vae->config).quant_conv);
    EXPECT_EQ(contents.vae->weights.params,
              83'653'863);  // AutoencoderKL of Stable Diffusion, as published
    ASSERT_EQ(contents.text_encoders.size(), 2U);
    EXPECT_EQ(std::get<ClipTextConfig>(contents.text_encoders[0].config).name, "clip_l");
    EXPECT_EQ(std::get<ClipTextConfig>(contents.text_encoders[1].config).name, "clip_g");
    EXPECT_EQ(contents.denoiser->weights.params + contents.vae->weights.params +
                  contents.text_encoders[0].weights.params +
                  contents.text_encoders[1].weights.params,
              contents.everything.params);
    EXPECT_TRUE(contents.notes.empty());
}

TEST(DetectContents, tells_16_channel_vaes_without_quant_conv) {
    for (const std::string_view prefix : {"", "vae."}) {
        const Contents contents = detect_contents(under(prefix, listed_network("flux_vae")));
        ASSERT_TRUE(contents.vae);
        EXPECT_EQ(std::get<KlVaeConfig>(contents.vae->config).z_channels, 16);
        EXPECT_FALSE(std::get<KlVaeConfig>(contents.vae->config).quant_conv);
        EXPECT_TRUE(std::get<KlVaeConfig>(contents.vae->config).has_encoder);
        EXPECT_THAT(std::get<KlVaeConfig>(contents.vae->config).channel_mult,
                    ElementsAre(1, 2, 4, 4));
        EXPECT_EQ(std::get<KlVaeConfig>(contents.vae->config).num_res_blocks, 2);
        EXPECT_EQ(contents.family, Family::Unknown);
    }
}

TEST(DetectContents, reads_clip_numbers_from_standalone_files) {
    const Contents l = detect_contents(under("", listed_network("te_clip_l")));
    ASSERT_EQ(l.text_encoders.size(), 1U);
    EXPECT_EQ(std::get<ClipTextConfig>(l.text_encoders[0].config).layers, 12);
    EXPECT_EQ(std::get<ClipTextConfig>(l.text_encoders[0].config).hidden, 768);
    EXPECT_EQ(std::get<ClipTextConfig>(l.text_encoders[0].config).intermediate, 3072);
    EXPECT_EQ(std::get<ClipTextConfig>(l.text_encoders[0].config).heads, 12);
    EXPECT_EQ(std::get<ClipTextConfig>(l.text_encoders[0].config).activation,
              ClipActivation::QuickGelu);
    EXPECT_EQ(l.text_encoders[0].weights.params,
              123'650'304 + 1);  // the published count and logit_scale
    const Contents g = detect_contents(under("text_encoders.clip_g.", listed_network("te_clip_g")));
    ASSERT_EQ(g.text_encoders.size(), 1U);
    EXPECT_EQ(std::get<ClipTextConfig>(g.text_encoders[0].config).name, "clip_g");
    EXPECT_EQ(std::get<ClipTextConfig>(g.text_encoders[0].config).activation, ClipActivation::Gelu);
    EXPECT_EQ(g.text_encoders[0].weights.params, 694'659'840 + 1);
}

TEST(DetectContents, tells_controlnets_and_adapters_from_unets) {
    const Contents sd15 =
        detect_contents(under("control_model.", listed_network("controlnet_sd15_cldm")));
    ASSERT_TRUE(sd15.controlnet);
    EXPECT_EQ(std::get<ControlNetConfig>(sd15.controlnet->config).encoder.family, Family::Sd15);
    EXPECT_EQ(std::get<ControlNetConfig>(sd15.controlnet->config).hint_channels, 3);
    EXPECT_FALSE(sd15.denoiser);
    const Contents sdxl = detect_contents(under("", listed_network("controlnet_sdxl_cldm")));
    ASSERT_TRUE(sdxl.controlnet);
    EXPECT_FALSE(sdxl.denoiser);
    EXPECT_EQ(sdxl.family, Family::Sdxl);
    EXPECT_EQ(std::get<ControlNetConfig>(sdxl.controlnet->config).control_add_types, 0);
    const Contents many = detect_contents(under("", listed_network("controlnet_sdxl_union++6")));
    ASSERT_TRUE(many.controlnet);
    EXPECT_EQ(std::get<ControlNetConfig>(many.controlnet->config).control_add_types, 6);
    const Contents adapter = detect_contents(under("", listed_network("t2i_adapter_sdxl")));
    ASSERT_TRUE(adapter.t2i_adapter);
    EXPECT_TRUE(adapter.t2i_adapter->config.xl);
    EXPECT_THAT(adapter.t2i_adapter->config.channels, ElementsAre(320, 640, 1280, 1280));
    EXPECT_FALSE(detect_contents(under("adapter.", listed_network("t2i_adapter_sd15")))
                     .t2i_adapter->config.xl);
}

TEST(DetectContents, names_other_families_and_keeps_exact_weights) {
    const TensorTable hunyuandit = listed_network("hunyuandit");
    const Contents contents = detect_contents(under(kUnet, hunyuandit));
    EXPECT_EQ(contents.family, Family::Unknown);
    EXPECT_FALSE(contents.denoiser);
    EXPECT_THAT(contents.notes, ElementsAre(HasSubstr("HunyuanDiT")));
    std::int64_t params = 0;
    for (const TensorEntry& tensor : hunyuandit.tensors) params += element_count(tensor.shape);
    EXPECT_EQ(contents.everything.params, params);
}

// As the files of Flux Fill and the control models are: more channels in, the rest alike.
TEST(DetectContents, tells_fluxs_tools_by_their_channels) {
    for (const auto& [columns, channels, family] :
         {std::tuple{384, 96, Family::FluxFill}, std::tuple{128, 32, Family::Flux}}) {
        TensorTable table = listed_network("flux_dev");
        for (TensorEntry& tensor : table.tensors)
            if (tensor.name == "img_in.weight") tensor.shape = {3072, columns};
        const Contents contents = detect_contents(under(kUnet, table));
        ASSERT_TRUE(contents.denoiser);
        EXPECT_EQ(contents.family, family);
        EXPECT_EQ(std::get<FluxConfig>(contents.denoiser->config).in_channels, channels);
        EXPECT_EQ(std::get<FluxConfig>(contents.denoiser->config).out_channels, 16);
    }
}

TEST(DetectContents, tells_qwen_images_relatives_by_their_marks) {
    const auto with = [](const std::string& name, const Shape& shape) {
        TensorTable table = listed_network("qwen_image");
        add_tensor(table, name, DType::BFloat16, shape);
        table.index();
        return detect_contents(table);
    };
    const Contents edit = with("__index_timestep_zero__", {0});
    ASSERT_TRUE(edit.denoiser);
    EXPECT_EQ(std::get<QwenImageConfig>(edit.denoiser->config).default_ref_method,
              "index_timestep_zero");
    const Contents layered = with("time_text_embed.addition_t_embedding.weight", {2, 3072});
    ASSERT_TRUE(layered.denoiser);
    EXPECT_TRUE(std::get<QwenImageConfig>(layered.denoiser->config).use_additional_t_cond);
}

TEST(DetectContents, says_nothing_about_an_empty_file_but_that) {
    TensorTable empty;
    empty.index();
    const Contents contents = detect_contents(empty);
    EXPECT_EQ(contents.family, Family::Unknown);
    EXPECT_EQ(contents.notes.size(), 1U);
}

}  // namespace
}  // namespace plimsoll::modelfile
