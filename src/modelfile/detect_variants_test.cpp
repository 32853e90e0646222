// SPDX-License-Identifier: Apache-2.0
// Goal: every variant of the LDM UNet is told from the others in both layouts; odd and
// contradictory files get a note. Method: networks written from their published constructor
// arguments, real listings with tensors renamed or changed.
#include "modelfile/architectures.h"
#include "modelfile/detect.h"
#include "modelfile/listing_fixture.h"
#include "modelfile/unet_fixture.h"

#include <fmt/format.h>
#include <gmock/gmock.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <ostream>

namespace plimsoll::modelfile {
namespace {

using testing::Contains;
using testing::ElementsAre;
using testing::HasSubstr;
using Depths = std::vector<int>;

struct Variant {
    std::string name;
    UnetPlan plan;
    Family family;

    // For the list of tests; else gtest shows bytes.
    friend void PrintTo(const Variant& shown, std::ostream* out) { *out << shown.name; }
};
class DetectVariant : public testing::TestWithParam<Variant> {};

TEST_P(DetectVariant, in_both_layouts_with_the_same_numbers) {
    const UnetPlan& plan = GetParam().plan;
    Depths output(plan.depth_output.rbegin(),
                  plan.depth_output.rend());  // ComfyUI lists the decoder from its end
    for (const TensorTable& table : {UnetWriter::ldm(plan), UnetWriter::diffusers(plan)}) {
        const Contents contents = detect_contents(table);
        ASSERT_TRUE(contents.denoiser) << testing::PrintToString(contents.notes);
        const UnetConfig& unet = std::get<UnetConfig>(contents.denoiser->config);
        EXPECT_EQ(family_name(unet.family), family_name(GetParam().family));
        EXPECT_EQ(unet.channel_mult, plan.mult);
        EXPECT_EQ(unet.num_res_blocks, Depths(plan.mult.size(), plan.blocks));
        EXPECT_EQ(unet.transformer_depth, plan.depth);
        EXPECT_EQ(unet.transformer_depth_output, output);
        EXPECT_EQ(unet.transformer_depth_middle, plan.middle);
        EXPECT_EQ(unet.context_dim, plan.context);
        EXPECT_EQ(unet.adm_in_channels, plan.adm);
        EXPECT_EQ(unet.use_linear_in_transformer, plan.is_linear);
        EXPECT_EQ(parse_family(family_name(unet.family)), unet.family);
    }
}

// Depths: each model's published unet/config.json.
UnetPlan sd(int in_channels, int context, int adm, bool is_linear) {
    return {.in_channels = in_channels,
            .mult = {1, 2, 4, 4},
            .depth = {1, 1, 1, 1, 1, 1, 0, 0},
            .depth_output = {0, 0, 0, 1, 1, 1, 1, 1, 1, 1, 1, 1},
            .context = context,
            .adm = adm,
            .is_linear = is_linear};
}
UnetPlan xl(int in_channels, Depths depth, Depths output, int middle) {
    return {.in_channels = in_channels,
            .depth = std::move(depth),
            .depth_output = std::move(output),
            .middle = middle};
}
UnetPlan koala(int depth, int middle) {
    return {.blocks = 1,
            .depth = {0, 2, depth},
            .depth_output = {depth, depth, 2, 2, 0, 0},
            .middle = middle};
}
const Depths kXlOutput = {10, 10, 10, 2, 2, 2, 0, 0, 0};

INSTANTIATE_TEST_SUITE_P(
    Published, DetectVariant,
    testing::Values(Variant{"sd15", sd(4, 768, 0, false), Family::Sd15},
                    Variant{"sd15_inpaint", sd(9, 768, 0, false), Family::Sd15},
                    Variant{"sd15_instruct", sd(8, 768, 0, false), Family::Sd15InstructPix2Pix},
                    Variant{"sd20", sd(4, 1024, 0, true), Family::Sd20},
                    Variant{"unclip_l", sd(4, 1024, 1536, true), Family::Sd21UnclipL},
                    Variant{"unclip_h", sd(4, 1024, 2048, true), Family::Sd21UnclipH},
                    Variant{"lotus", sd(4, 1024, 4, true), Family::LotusD},
                    Variant{"x4",
                            {.in_channels = 7,
                             .channels = 256,
                             .mult = {1, 2, 2, 4},
                             .depth = {0, 0, 1, 1, 1, 1, 1, 1},
                             .depth_output = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0},
                             .context = 1024,
                             .adm = 0},
                            Family::SdX4Upscaler},
                    Variant{"sdxl", xl(4, {0, 0, 2, 2, 10, 10}, kXlOutput, 10), Family::Sdxl},
                    Variant{"sdxl_instruct", xl(8, {0, 0, 2, 2, 10, 10}, kXlOutput, 10),
                            Family::SdxlInstructPix2Pix},
                    Variant{"refiner",
                            {.channels = 384,
                             .mult = {1, 2, 4, 4},
                             .depth = {0, 0, 4, 4, 4, 4, 0, 0},
                             .depth_output = {0, 0, 0, 4, 4, 4, 4, 4, 4, 0, 0, 0},
                             .middle = 4,
                             .context = 1280,
                             .adm = 2560},
                            Family::SdxlRefiner},
                    Variant{"ssd1b", xl(4, {0, 0, 2, 2, 4, 4}, {4, 4, 10, 2, 1, 1, 0, 0, 0}, -1),
                            Family::Ssd1b},
                    Variant{"vega", xl(4, {0, 0, 1, 1, 2, 2}, {2, 2, 2, 1, 1, 1, 0, 0, 0}, -1),
                            Family::SegmindVega},
                    Variant{"koala_700m", koala(5, -2), Family::Koala700m},
                    Variant{"koala_1b", koala(6, 6), Family::Koala1b}),
    [](const auto& test) { return test.param.name; });

TEST(DetectContents, agrees_with_the_catalogue_on_every_unet) {
    for (const std::string& name : known_unet_names()) {
        const Result<UnetConfig> known = known_unet(name);
        ASSERT_TRUE(known) << known.error().message;
        const Depths output(known->transformer_depth_output.rbegin(),
                            known->transformer_depth_output.rend());
        const UnetPlan plan{.in_channels = known->in_channels,
                            .channels = known->model_channels,
                            .mult = known->channel_mult,
                            .blocks = known->num_res_blocks.front(),
                            .depth = known->transformer_depth,
                            .depth_output = output,
                            .middle = known->transformer_depth_middle,
                            .context = known->context_dim,
                            .adm = known->adm_in_channels,
                            .is_linear = known->use_linear_in_transformer};
        const Contents contents = detect_contents(UnetWriter::diffusers(plan));
        ASSERT_TRUE(contents.denoiser) << name;
        const UnetConfig& unet = std::get<UnetConfig>(contents.denoiser->config);
        EXPECT_EQ(unet.family, known->family) << name;
        EXPECT_EQ(unet.num_res_blocks, known->num_res_blocks) << name;
        EXPECT_EQ(unet.transformer_depth_output, known->transformer_depth_output) << name;
        EXPECT_EQ(unet.transformer_depth_middle, known->transformer_depth_middle) << name;
        EXPECT_EQ(unet.num_heads, known->num_heads) << name;
        EXPECT_EQ(unet.num_head_channels, known->num_head_channels) << name;
    }
}

TEST(DetectContents, tells_zero123_by_its_projection) {
    TensorTable table = UnetWriter::ldm(sd(8, 768, 0, false));
    add_tensor(table, "cc_projection.weight", DType::Float16, {768, 772});
    table.index();
    EXPECT_EQ(detect_contents(table).family, Family::StableZero123);
}

TEST(DetectContents, keeps_a_unet_of_no_known_family_with_a_note) {
    const Contents contents =
        detect_contents(UnetWriter::ldm(xl(4, {0, 0, 3, 3, 7, 7}, {7, 7, 7, 3, 3, 3, 0, 0, 0}, 7)));
    EXPECT_EQ(contents.family, Family::Unknown);
    ASSERT_TRUE(contents.denoiser);
    EXPECT_EQ(std::get<UnetConfig>(contents.denoiser->config).transformer_depth_middle, 7);
    EXPECT_THAT(contents.notes, Contains(HasSubstr("none of the families")));
}

TEST(DetectContents, reads_prediction_markers) {
    const auto with_marker = [](const std::vector<std::string>& names) {
        TensorTable table = UnetWriter::ldm(xl(4, {0, 0, 2, 2, 10, 10}, kXlOutput, 10));
        for (const std::string& name : names) add_tensor(table, name, DType::Float32, {});
        table.index();
        return std::get<UnetConfig>(detect_contents(table).denoiser->config).prediction;
    };
    EXPECT_EQ(with_marker({}), "eps");
    EXPECT_EQ(with_marker({"v_pred", "ztsnr"}), "v");
    EXPECT_EQ(with_marker({"edm_mean", "edm_std"}), "edm");
}

// A copy with each tensor changed by `change`.
TensorTable changed(const TensorTable& table, const std::function<void(TensorEntry&)>& change) {
    TensorTable copy = join_tables({{"", &table}});
    for (TensorEntry& tensor : copy.tensors) {
        change(tensor);
        tensor.bytes = storage_bytes(tensor.dtype, element_count(tensor.shape));
    }
    copy.index();
    return copy;
}

TEST(DetectContents, notes_contradictions_and_goes_on) {
    const TensorTable sdxl = listed_network("sdxl");
    const auto unet_with = [&](std::string_view name, const Shape& shape) {
        return detect_contents(changed(sdxl, [&](TensorEntry& tensor) {
            if (tensor.name == name) tensor.shape = shape;
        }));
    };
    for (const Contents& contents :
         {unet_with("input_blocks.0.0.weight", {320}),
          unet_with("input_blocks.0.0.weight", {0, 4, 3, 3}),
          unet_with("input_blocks.5.0.out_layers.3.weight", {641, 640, 3, 3}),
          unet_with("input_blocks.8.1.transformer_blocks.0.attn2.to_k.weight", {1280, 768}),
          unet_with("input_blocks.5.0.out_layers.3.weight", {INT64_MAX / 1024, 1})}) {
        EXPECT_FALSE(contents.denoiser);
        EXPECT_EQ(contents.family, Family::Unknown);
        EXPECT_THAT(contents.notes, Contains(HasSubstr("contradicts itself")));
    }
    const TensorTable vae = listed_network("kl_vae");
    const Contents odd_vae = detect_contents(changed(vae, [](TensorEntry& tensor) {
        if (tensor.name == "encoder.conv_out.weight") tensor.shape[0] = 7;
    }));
    EXPECT_FALSE(odd_vae.vae);
    EXPECT_THAT(odd_vae.notes, Contains(HasSubstr("contradicts itself")));
    const Contents odd_clip =
        detect_contents(changed(listed_network("clip_l"), [](TensorEntry& tensor) {
            if (tensor.name.ends_with("position_embedding.weight")) tensor.shape = {1};
        }));
    EXPECT_TRUE(odd_clip.text_encoders.empty());
    EXPECT_FALSE(odd_clip.notes.empty());
}

// CLIP under OpenCLIP's names, as SD 2.x and SDXL checkpoints hold H and G.
TensorTable open_clip(int layers, std::int64_t width, std::int64_t projection) {
    TensorTable table;
    const auto put = [&](const std::string& name, Shape shape) {
        add_tensor(table, name, DType::Float16, std::move(shape));
    };
    put("positional_embedding", {77, width});
    put("text_projection", {width, projection});
    put("token_embedding.weight", {49408, width});
    for (int i = 0; i < layers; ++i) {
        put(fmt::format("transformer.resblocks.{}.attn.in_proj_weight", i), {3 * width, width});
        put(fmt::format("transformer.resblocks.{}.mlp.c_fc.weight", i), {4 * width, width});
    }
    table.index();
    return table;
}

TEST(DetectContents, reads_openclip_h_and_g_inside_checkpoints) {
    const TensorTable h = open_clip(24, 1024, 1024);
    const Contents sd2 = detect_contents(join_tables({{"cond_stage_model.model.", &h}}));
    ASSERT_EQ(sd2.text_encoders.size(), 1U);
    EXPECT_EQ(std::get<ClipTextConfig>(sd2.text_encoders[0].config).name, "clip_h");
    EXPECT_EQ(std::get<ClipTextConfig>(sd2.text_encoders[0].config).heads, 16);
    EXPECT_EQ(std::get<ClipTextConfig>(sd2.text_encoders[0].config).positions, 77);
    EXPECT_EQ(sd2.text_encoders[0].weights.params, sd2.everything.params);
    const TensorTable l = listed_network("clip_l");
    const TensorTable g = open_clip(32, 1280, 1280);
    const Contents xl_pair = detect_contents(
        join_tables({{"conditioner.embedders.0.", &l}, {"conditioner.embedders.1.model.", &g}}));
    ASSERT_EQ(xl_pair.text_encoders.size(), 2U);
    EXPECT_EQ(std::get<ClipTextConfig>(xl_pair.text_encoders[1].config).name, "clip_g");
    EXPECT_EQ(std::get<ClipTextConfig>(xl_pair.text_encoders[1].config).intermediate, 5120);
}

TEST(DetectContents, reads_the_old_names_of_clip_l_in_sd1_checkpoints) {
    const TensorTable old = changed(listed_network("clip_l"), [](TensorEntry& tensor) {
        if (const auto at = tensor.name.find("text_model."); at != std::string::npos)
            tensor.name.erase(at, 11);
    });
    const Contents contents = detect_contents(join_tables({{"cond_stage_model.", &old}}));
    ASSERT_EQ(contents.text_encoders.size(), 1U);
    EXPECT_EQ(std::get<ClipTextConfig>(contents.text_encoders[0].config).layers, 12);
}

TEST(DetectContents, reads_diffusers_vaes) {
    // The decoder counts its levels from the latent in diffusers and from the picture in the LDM
    // layout.
    const TensorTable diffusers = changed(listed_network("kl_vae"), [](TensorEntry& tensor) {
        const auto replace = [&](std::string_view from, std::string_view to) {
            if (const auto at = tensor.name.find(from); at != std::string::npos)
                tensor.name.replace(at, from.size(), to);
        };
        for (int i = 0; i < 4; ++i) {
            replace(fmt::format("decoder.up.{}.block.", i),
                    fmt::format("decoder.up_blocks.{}.resnets.", 3 - i));
            replace(fmt::format("encoder.down.{}.block.", i),
                    fmt::format("encoder.down_blocks.{}.resnets.", i));
            replace(fmt::format("decoder.up.{}.upsample.", i),
                    fmt::format("decoder.up_blocks.{}.upsamplers.0.", 3 - i));
        }
    });
    const Contents contents = detect_contents(diffusers);
    ASSERT_TRUE(contents.vae);
    EXPECT_THAT(std::get<KlVaeConfig>(contents.vae->config).channel_mult, ElementsAre(1, 2, 4, 4));
    EXPECT_EQ(std::get<KlVaeConfig>(contents.vae->config).num_res_blocks, 2);
    EXPECT_EQ(std::get<KlVaeConfig>(contents.vae->config).base_channels, 128);
}

TEST(DetectContents, tells_loras_tiny_vaes_and_diffusers_controlnets) {
    const auto table_of = [](const std::vector<std::pair<std::string, Shape>>& tensors) {
        TensorTable table;
        for (const auto& [name, shape] : tensors) add_tensor(table, name, DType::Float16, shape);
        table.index();
        return table;
    };
    for (const std::string_view down : {"lora_down.weight", "lora_A.weight", "lora.down.weight"})
        EXPECT_TRUE(
            detect_contents(
                table_of({{"lora_unet_mid_block_attentions_0." + std::string(down), {16, 320}}}))
                .is_lora);
    EXPECT_FALSE(detect_contents(listed_network("sd15")).is_lora);

    const Contents tiny = detect_contents(
        table_of({{"1.weight", {64, 4, 3, 3}}, {"3.conv.0.weight", {64, 64, 3, 3}}}));
    ASSERT_TRUE(tiny.tiny_vae);
    EXPECT_EQ(tiny.tiny_vae->config.latent_channels, 4);
    const Contents tiny16 =
        detect_contents(table_of({{"decoder.layers.0.weight", {64, 16, 3, 3}},
                                  {"decoder.layers.2.conv.0.weight", {64, 64, 3, 3}}}));
    ASSERT_TRUE(tiny16.tiny_vae);
    EXPECT_EQ(tiny16.tiny_vae->config.latent_channels, 16);

    TensorTable control = UnetWriter::diffusers(xl(4, {0, 0, 2, 2, 10, 10}, kXlOutput, 10));
    std::erase_if(control.tensors, [](const TensorEntry& tensor) {
        return tensor.name.starts_with("up_blocks") || tensor.name.starts_with("conv_out");
    });
    add_tensor(control, "controlnet_cond_embedding.conv_in.weight", DType::Float16, {16, 3, 3, 3});
    add_tensor(control, "control_add_embedding.linear_1.weight", DType::Float16, {1280, 2048});
    control.index();
    const Contents contents = detect_contents(control);
    ASSERT_TRUE(contents.controlnet);
    EXPECT_FALSE(contents.denoiser);
    EXPECT_EQ(std::get<ControlNetConfig>(contents.controlnet->config).control_add_types, 8);
    EXPECT_EQ(std::get<ControlNetConfig>(contents.controlnet->config).encoder.family, Family::Sdxl);
    EXPECT_TRUE(std::get<ControlNetConfig>(contents.controlnet->config)
                    .encoder.transformer_depth_output.empty());
}

// Goal: ControlNets of diffusion transformers are told by their own tensors. Method: the tensors
// that say their numbers, as the publishers name them.
TEST(DetectContents, tells_controlnets_of_transformers) {
    const auto add = [](TensorTable& table, const std::string& name, const Shape& shape) {
        add_tensor(table, name, DType::Float16, shape);
    };
    TensorTable qwen;
    for (int i = 0; i < 6; ++i) {
        add(qwen, fmt::format("transformer_blocks.{}.attn.norm_q.weight", i), {128});
        add(qwen, fmt::format("controlnet_blocks.{}.weight", i), {3072, 3072});
    }
    add(qwen, "img_in.weight", {3072, 64});
    add(qwen, "txt_norm.weight", {3584});
    add(qwen, "controlnet_x_embedder.weight", {3072, 68});
    qwen.index();
    const Contents inpainting = detect_contents(qwen);
    ASSERT_TRUE(inpainting.controlnet) << testing::PrintToString(inpainting.notes);
    EXPECT_FALSE(inpainting.denoiser);
    EXPECT_EQ(inpainting.family, Family::QwenImage);
    const auto& config = std::get<QwenControlConfig>(inpainting.controlnet->config);
    EXPECT_EQ(config.num_layers, 6);
    EXPECT_EQ(config.num_attention_heads, 24);
    EXPECT_EQ(config.extra_condition_channels, 4);

    TensorTable sd35;
    for (int i = 0; i < 19; ++i)
        add(sd35, fmt::format("transformer_blocks.{}.adaLN_modulation.1.weight", i), {14592, 2432});
    add(sd35, "pos_embed_input.proj.weight", {2432, 16, 2, 2});
    sd35.index();
    const Contents blur = detect_contents(sd35);
    ASSERT_TRUE(blur.controlnet) << testing::PrintToString(blur.notes);
    EXPECT_EQ(blur.family, Family::Sd3);
    EXPECT_EQ(std::get<Sd35ControlConfig>(blur.controlnet->config).depth, 38);
    EXPECT_EQ(std::get<Sd35ControlConfig>(blur.controlnet->config).num_layers, 19);
}

// Goal: the same for Flux's two layouts. Method: as above.
TEST(DetectContents, tells_controlnets_of_flux) {
    const auto add = [](TensorTable& table, const std::string& name, const Shape& shape) {
        add_tensor(table, name, DType::BFloat16, shape);
    };
    TensorTable shakker;
    for (int i = 0; i < 5; ++i) {
        add(shakker, fmt::format("transformer_blocks.{}.attn.norm_added_k.weight", i), {128});
        add(shakker, fmt::format("transformer_blocks.{}.ff.net.0.proj.weight", i), {12288, 3072});
        add(shakker, fmt::format("transformer_blocks.{}.attn.to_q.bias", i), {3072});
        add(shakker, fmt::format("controlnet_blocks.{}.weight", i), {3072, 3072});
    }
    for (int i = 0; i < 10; ++i)
        add(shakker, fmt::format("single_transformer_blocks.{}.proj_out.weight", i), {3072, 15360});
    add(shakker, "x_embedder.weight", {3072, 64});
    add(shakker, "controlnet_x_embedder.weight", {3072, 68});
    add(shakker, "context_embedder.weight", {3072, 4096});
    add(shakker, "time_text_embed.text_embedder.linear_1.weight", {3072, 768});
    add(shakker, "time_text_embed.guidance_embedder.linear_1.weight", {3072, 256});
    add(shakker, "controlnet_mode_embedder.weight", {10, 3072});
    shakker.index();
    const Contents all = detect_contents(shakker);
    ASSERT_TRUE(all.controlnet) << testing::PrintToString(all.notes);
    EXPECT_FALSE(all.denoiser);
    EXPECT_EQ(all.family, Family::Flux);
    const auto& config = std::get<FluxControlConfig>(all.controlnet->config);
    EXPECT_EQ(config.depth, 5);
    EXPECT_EQ(config.depth_single_blocks, 10);
    EXPECT_EQ(config.union_modes, 10);
    EXPECT_EQ(config.hint_channels, 17);
    EXPECT_TRUE(config.guidance_embed);
    EXPECT_FALSE(config.pixel_hint);

    TensorTable xlabs;
    for (int i = 0; i < 2; ++i) {
        add(xlabs, fmt::format("double_blocks.{}.img_attn.norm.key_norm.scale", i), {128});
        add(xlabs, fmt::format("double_blocks.{}.img_mlp.0.weight", i), {12288, 3072});
        add(xlabs, fmt::format("controlnet_blocks.{}.weight", i), {3072, 3072});
    }
    add(xlabs, "img_in.weight", {3072, 64});
    add(xlabs, "txt_in.weight", {3072, 4096});
    add(xlabs, "vector_in.in_layer.weight", {3072, 768});
    add(xlabs, "pos_embed_input.weight", {3072, 64});
    add(xlabs, "input_hint_block.0.weight", {16, 3, 3, 3});
    xlabs.index();
    const Contents canny = detect_contents(xlabs);
    ASSERT_TRUE(canny.controlnet) << testing::PrintToString(canny.notes);
    EXPECT_FALSE(canny.denoiser);
    const auto& pixels = std::get<FluxControlConfig>(canny.controlnet->config);
    EXPECT_TRUE(pixels.pixel_hint);
    EXPECT_FALSE(pixels.mistoline);
    EXPECT_FALSE(pixels.guidance_embed);
    EXPECT_EQ(pixels.depth, 2);
    EXPECT_EQ(pixels.depth_single_blocks, 0);
}

TEST(DetectContents, stops_at_text_encoders_nested_without_end) {
    // Each encoder's walk covers all that lie deeper: unbounded, this took a minute.
    TensorTable table;
    std::string prefix;
    for (int depth = 0; depth < 100; ++depth, prefix += "x.") {
        add_tensor(table, prefix + "encoder.layers.0.mlp.fc1.weight", DType::Float16, {3072, 768});
        for (int layer = 1; layer < 12; ++layer)
            add_tensor(table, fmt::format("{}encoder.layers.{}.", prefix, layer), DType::Int8, {1});
        add_tensor(table, prefix + "embeddings.token_embedding.weight", DType::Float16, {9, 768});
        add_tensor(table, prefix + "embeddings.position_embedding.weight", DType::Float16,
                   {77, 768});
    }
    table.index();
    const Contents contents = detect_contents(table);
    EXPECT_EQ(contents.text_encoders.size(), 8U);
    EXPECT_THAT(contents.notes, ElementsAre(HasSubstr("more than 8 text encoders")));
}

TEST(DetectContents, shows_names_from_outside_without_their_control_characters) {
    TensorTable table;
    add_tensor(table, "\x1b[2Jencoder.layers.0.mlp.fc1.weight", DType::Float16, {1});
    add_tensor(table, "\x1b[2Jembeddings.token_embedding.weight", DType::Float16, {1});
    table.index();
    const Contents contents = detect_contents(table);
    ASSERT_FALSE(contents.notes.empty());
    for (const std::string& note : contents.notes) EXPECT_EQ(note.find('\x1b'), std::string::npos);
}

TEST(DetectContents, counts_of_a_vae_only_its_own_weights) {
    TensorTable vae = listed_network("kl_vae");
    const std::int64_t params = detect_contents(vae).vae->weights.params;
    add_tensor(vae, "loss.discriminator.main.0.weight", DType::Float32, {64, 3, 4, 4});
    add_tensor(vae, "model_ema.decay", DType::Float32, {});
    vae.index();
    const Contents contents = detect_contents(vae);
    EXPECT_EQ(contents.vae->weights.params, params);
    EXPECT_EQ(contents.everything.params, params + 64 * 3 * 4 * 4 + 1);
}

TEST(DetectContents, reads_a_vae_without_its_encoder_and_notes_one_without_its_decoder) {
    const TensorTable whole = listed_network("kl_vae");
    const auto half = [&](std::string_view without) {
        TensorTable table = join_tables({{"", &whole}});
        std::erase_if(table.tensors,
                      [&](const TensorEntry& tensor) { return tensor.name.starts_with(without); });
        table.index();
        return detect_contents(table);
    };
    const Contents decoder = half("encoder.");
    ASSERT_TRUE(decoder.vae);
    EXPECT_FALSE(std::get<KlVaeConfig>(decoder.vae->config).has_encoder);
    const Contents encoder = half("decoder.");
    EXPECT_FALSE(encoder.vae);
    EXPECT_THAT(encoder.notes, Contains(HasSubstr("encoder half")));
}

TEST(DetectContents, sees_scaled_fp8) {
    TensorTable table = changed(listed_network("sd15"),
                                [](TensorEntry& tensor) { tensor.dtype = DType::Float8E4M3; });
    add_tensor(table, "scaled_fp8", DType::Float8E4M3, {2});
    table.index();
    const Contents contents = detect_contents(table);
    EXPECT_TRUE(contents.denoiser->weights.scaled_fp8);
    EXPECT_EQ(contents.denoiser->weights.dtype, DType::Float8E4M3);
}

TEST(DetectContents, reports_its_time_for_a_whole_unet) {
    const TensorTable table = listed_network("sdxl");
    double best_ms = 1e9;
    for (int i = 0; i < 20; ++i) {
        const auto begin = std::chrono::steady_clock::now();
        ASSERT_TRUE(detect_contents(table).denoiser);
        best_ms = std::min(best_ms, std::chrono::duration<double, std::milli>(
                                        std::chrono::steady_clock::now() - begin)
                                        .count());
    }
    RecordProperty("detect_ms", std::to_string(best_ms));
}

}  // namespace
}  // namespace plimsoll::modelfile
