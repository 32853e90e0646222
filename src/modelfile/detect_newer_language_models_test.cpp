// SPDX-License-Identifier: Apache-2.0
// Goal: the newer language models are known by their tensors alone. Method: the tensors that tell
// their numbers, of small models made for the purpose, and one of them missing.
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

template <class Config>
const Config* only(const Contents& contents) {
    if (contents.text_encoders.size() != 1) return nullptr;
    return std::get_if<Config>(&contents.text_encoders.front().config);
}

File qwen35() {
    File file;
    const std::string stem = "model.language_model.";
    file.add(stem + "embed_tokens.weight", {500, 256});
    for (int i = 0; i < 4; ++i) {
        const std::string layer = fmt::format("{}layers.{}.", stem, i);
        file.add(layer + "mlp.gate_proj.weight", {384, 256});
        if (i == 3) {
            file.add(layer + "self_attn.q_norm.weight", {32});
            file.add(layer + "self_attn.q_proj.weight", {2 * 8 * 32, 256});
            file.add(layer + "self_attn.k_proj.weight", {2 * 32, 256});
            continue;
        }
        file.add(layer + "linear_attn.in_proj_qkv.weight", {2 * 2 * 16 + 4 * 16, 256});
        file.add(layer + "linear_attn.in_proj_z.weight", {4 * 16, 256});
        file.add(layer + "linear_attn.A_log", {4});
        file.add(layer + "linear_attn.norm.weight", {16});
        file.add(layer + "linear_attn.conv1d.weight", {2 * 2 * 16 + 4 * 16, 1, 4});
    }
    return file;
}

TEST(Qwen35, is_known_by_its_delta_layers) {
    const Contents contents = qwen35().contents();
    const auto* config = only<Qwen35Config>(contents);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->num_hidden_layers, 4);
    EXPECT_EQ(config->num_attention_heads, 8);
    EXPECT_EQ(config->num_key_value_heads, 2);
    EXPECT_EQ(config->linear_num_key_heads, 2);
    EXPECT_EQ(config->linear_num_value_heads, 4);
    EXPECT_EQ(config->linear_key_head_dim, 16);
    EXPECT_EQ(config->vision_depth, 0);
    EXPECT_FALSE(config->lm_head);
}

TEST(Qwen35, with_a_tensor_missing_is_nothing_and_says_why) {
    const Contents contents =
        qwen35().drop("model.language_model.layers.3.self_attn.q_norm.weight").contents();
    EXPECT_TRUE(contents.text_encoders.empty());
    ASSERT_FALSE(contents.notes.empty());
    EXPECT_NE(contents.notes.front().find("q_norm"), std::string::npos);
}

File gemma4(int layers) {
    File file;
    file.add("model.embed_tokens.weight", {500, 64});
    for (int i = 0; i < layers; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        const int head = i % 5 == 4 ? 32 : 16;
        file.add(layer + "self_attn.q_norm.weight", {head});
        file.add(layer + "self_attn.q_proj.weight", {8 * head, 64});
        file.add(layer + "self_attn.k_proj.weight", {2 * head, 64});
        file.add(layer + "mlp.gate_proj.weight", {i < 15 ? 128 : 256, 64});
        file.add(layer + "per_layer_input_gate.weight", {8, 64});
    }
    return file;
}

TEST(Gemma4, is_known_by_the_inputs_of_its_layers) {
    const Contents contents = gemma4(35).contents();
    const auto* config = only<Gemma4Config>(contents);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->full_attention_every, 5);
    EXPECT_EQ(config->global_head_dim, 32);
    EXPECT_EQ(config->hidden_size_per_layer_input, 8);
    EXPECT_EQ(config->num_kv_shared_layers, 20);
    EXPECT_TRUE(config->use_double_wide_mlp);
}

TEST(Gemma4, of_another_depth_is_not_guessed) {
    const Contents contents = gemma4(30).contents();
    EXPECT_TRUE(contents.text_encoders.empty());
    EXPECT_FALSE(contents.notes.empty());
}

// 12B: no inputs of their own for the layers, and every sixth has neither values nor more than one
// head of keys.
TEST(Gemma4, without_inputs_for_its_layers_is_known_by_their_scales) {
    File file;
    file.add("model.embed_tokens.weight", {500, 64});
    for (int i = 0; i < 12; ++i) {
        const std::string layer = fmt::format("model.layers.{}.", i);
        const bool all = i % 6 == 5;
        const int head = all ? 32 : 16;
        file.add(layer + "self_attn.q_norm.weight", {head});
        file.add(layer + "self_attn.q_proj.weight", {8 * head, 64});
        file.add(layer + "self_attn.k_proj.weight", {all ? head : 4 * head, 64});
        if (!all) file.add(layer + "self_attn.v_proj.weight", {4 * head, 64});
        file.add(layer + "mlp.gate_proj.weight", {128, 64});
        file.add(layer + "layer_scalar", {1});
    }
    const Contents contents = file.contents();
    const auto* config = only<Gemma4Config>(contents);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->full_attention_every, 6);
    EXPECT_EQ(config->hidden_size_per_layer_input, 0);
    EXPECT_EQ(config->num_key_value_heads, 4);
    EXPECT_EQ(config->num_global_key_value_heads, 1);
    EXPECT_TRUE(config->attention_k_eq_v);
    EXPECT_EQ(config->num_kv_shared_layers, 0);
}

TEST(T5Gemma, is_known_by_its_encoder) {
    File file;
    file.add("model.encoder.embed_tokens.weight", {500, 128});
    for (int i = 0; i < 2; ++i) {
        const std::string layer = fmt::format("model.encoder.layers.{}.", i);
        file.add(layer + "pre_self_attn_layernorm.weight", {128});
        file.add(layer + "self_attn.q_proj.weight", {192, 128});
        file.add(layer + "self_attn.k_proj.weight", {64, 128});
        file.add(layer + "mlp.gate_proj.weight", {256, 128});
    }
    const Contents contents = file.contents();
    const auto* config = only<T5GemmaConfig>(contents);
    ASSERT_NE(config, nullptr);
    EXPECT_EQ(config->num_hidden_layers, 2);
    EXPECT_EQ(config->num_attention_heads, 3);
    EXPECT_EQ(config->num_key_value_heads, 1);
}

}  // namespace
}  // namespace plimsoll::modelfile
