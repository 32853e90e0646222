// SPDX-License-Identifier: Apache-2.0
// Goal: JoyAI-Image-Edit and Stable Audio 3 are known by their tensors alone, and what is only like
// them is not guessed. Method: the tensors that tell their numbers, of small models made for the
// purpose, and another number or one tensor missing.
#include "modelfile/detect.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <utility>

namespace plimsoll::modelfile {
namespace {

class File {
  public:
    File& add(std::string name, std::vector<std::int64_t> shape) {
        TensorEntry entry;
        entry.name = std::move(name);
        entry.dtype = DType::BFloat16;
        entry.shape = std::move(shape);
        entry.bytes = Bytes(2 * element_count(entry.shape));
        table_.tensors.push_back(std::move(entry));
        return *this;
    }
    File& drop(std::string_view name) {
        std::erase_if(table_.tensors, [&](const TensorEntry& t) { return t.name == name; });
        return *this;
    }
    [[nodiscard]] Contents contents() {
        table_.index();
        return detect_contents(table_);
    }

  private:
    TensorTable table_;
};

File joyimage() {
    File file;
    file.add("img_in.weight", {64, 16, 1, 2, 2});
    file.add("condition_embedder.text_embedder.linear_1.weight", {64, 48});
    for (int i = 0; i < 3; ++i) {
        const std::string block = fmt::format("double_blocks.{}.", i);
        file.add(block + "attn.img_attn_q_norm.weight", {16});
        file.add(block + "img_mlp.net.0.proj.weight", {4 * 64, 64});
    }
    return file;
}

TEST(JoyImage, is_known_by_its_double_blocks) {
    const Contents contents = joyimage().contents();
    EXPECT_EQ(contents.family, Family::JoyImage);
    ASSERT_TRUE(contents.denoiser);
    const auto* config = std::get_if<JoyImageConfig>(&contents.denoiser->config);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->hidden_size, 64);
    EXPECT_EQ(config->num_attention_heads, 4);
    EXPECT_EQ(config->num_layers, 3);
    EXPECT_EQ(config->text_dim, 48);
    EXPECT_EQ(config->mlp_width_ratio, 4);
}

TEST(JoyImage, with_a_tensor_missing_is_nothing_and_says_why) {
    const Contents contents = joyimage().drop("img_in.weight").contents();
    EXPECT_FALSE(contents.denoiser);
    EXPECT_FALSE(contents.notes.empty());
}

File stable_audio_3(int sets) {
    File file;
    const std::string root = "model.diffusion_model.";
    file.add(root + "postprocess_conv.weight", {32, 32, 1});
    file.add(root + "to_timestep_embed.0.weight", {64, 256});
    file.add(root + "to_cond_embed.0.weight", {64, 24});
    file.add(root + "to_global_embed.0.weight", {64, 24});
    file.add(root + "transformer.rotary_pos_emb.inv_freq", {8});
    file.add(root + "transformer.memory_tokens", {8, 64});
    file.add(root + "transformer.global_cond_embedder.0.weight", {64, 64});
    for (int i = 0; i < 2; ++i) {
        const std::string layer = fmt::format("{}transformer.layers.{}.", root, i);
        file.add(layer + "to_local_embed.0.weight", {64, 33});
        file.add(layer + "self_attn.q_norm.gamma", {16});
        file.add(layer + "self_attn.to_qkv.weight", {sets * 64, 64});
    }
    return file;
}

TEST(StableAudio3, is_known_by_its_memory_and_its_local_condition) {
    const Contents contents = stable_audio_3(5).contents();
    EXPECT_EQ(contents.family, Family::StableAudio3);
    ASSERT_TRUE(contents.denoiser);
    const auto* config = std::get_if<StableAudio3Config>(&contents.denoiser->config);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->io_channels, 32);
    EXPECT_EQ(config->embed_dim, 64);
    EXPECT_EQ(config->num_heads, 4);
    EXPECT_EQ(config->num_memory_tokens, 8);
    EXPECT_EQ(config->local_add_cond_dim, 33);
    EXPECT_EQ(config->depth, 2);
}

// The small ones attend once where the medium takes the difference of two attentions.
TEST(StableAudio3, that_is_not_the_medium_is_not_guessed) {
    const Contents contents = stable_audio_3(3).contents();
    EXPECT_FALSE(contents.denoiser);
    EXPECT_FALSE(contents.notes.empty());
}

// Of SAM 3.1, as its authors name the tensors, with a small encoder of texts.
File sam31() {
    File file;
    const std::string vision = "detector.backbone.vision_backbone.";
    file.add(vision + "trunk.patch_embed.proj.weight", {128, 3, 14, 14});
    file.add(vision + "trunk.pos_embed", {1, 24 * 24 + 1, 128});
    file.add(vision + "propagation_convs.0.conv_1x1.weight", {32, 32, 1, 1});
    for (int i = 0; i < 3; ++i) {
        const std::string block = fmt::format("{}trunk.blocks.{}.", vision, i);
        file.add(block + "attn.qkv.weight", {3 * 128, 128});
        file.add(block + "attn.freqs_cis", {5184, 32});
        file.add(block + "mlp.fc1.weight", {592, 128});
    }
    file.add("detector.transformer.decoder.query_embed.weight", {20, 32});
    file.add("detector.transformer.encoder.layers.0.linear1.weight", {64, 32});
    file.add("detector.transformer.decoder.layers.0.linear1.weight", {64, 32});
    file.add("detector.geometry_encoder.encode.0.linear1.weight", {64, 32});
    file.add("detector.backbone.language_backbone.resizer.weight", {32, 1024});
    file.add("tracker.model.transformer.encoder.layers.0.linear1.weight", {64, 32});
    file.add("tracker.model.maskmem_tpos_enc", {7, 1, 1, 32});
    file.add("tracker.model.no_obj_embed_spatial", {16, 32});
    const std::string text = "detector.backbone.language_backbone.encoder.";
    file.add(text + "token_embedding.weight", {49408, 1024});
    file.add(text + "positional_embedding", {32, 1024});
    for (int i = 0; i < 24; ++i)
        file.add(fmt::format("{}transformer.resblocks.{}.mlp.c_fc.weight", text, i), {4096, 1024});
    return file;
}

TEST(Sam3, is_known_by_its_detector_and_its_tracker) {
    const Contents contents = sam31().contents();
    ASSERT_TRUE(contents.image_reader);
    const auto* config = std::get_if<Sam3Config>(&contents.image_reader->config);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->hidden, 128);
    EXPECT_EQ(config->layers, 3);
    EXPECT_EQ(config->mlp, 592);
    EXPECT_EQ(config->queries, 20);
    EXPECT_EQ(config->width, 32);
    EXPECT_EQ(config->memory_width, 32);
    EXPECT_EQ(config->objects, 16);
    EXPECT_LT(contents.image_reader->weights.params, 1'000'000) << "without texts and rotations";
    ASSERT_EQ(contents.text_encoders.size(), 1U);
    const auto* text = std::get_if<ClipTextConfig>(&contents.text_encoders.front().config);
    ASSERT_NE(text, nullptr);
    EXPECT_EQ(text->name, "sam3_text");
    EXPECT_EQ(text->positions, 32);
}

TEST(Sam3, whose_necks_and_tracker_differ_is_not_guessed) {
    const Contents contents =
        sam31()
            .drop("detector.backbone.vision_backbone.propagation_convs.0.conv_1x1.weight")
            .contents();
    EXPECT_FALSE(contents.image_reader);
    EXPECT_FALSE(contents.notes.empty());
}

}  // namespace
}  // namespace plimsoll::modelfile
