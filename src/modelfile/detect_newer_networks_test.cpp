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

}  // namespace
}  // namespace plimsoll::modelfile
