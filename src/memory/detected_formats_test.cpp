// SPDX-License-Identifier: Apache-2.0
// Goal: the same network is recognised in whatever form its file stores it, and what cannot be
// known or simulated gets a note. Method: listings of whole networks, renamed or quantised.
#include "memory/detected_fixture.h"
#include "memory/residency/loadable_model.h"

#include <gmock/gmock.h>

#include <vector>

namespace plimsoll::memory {
namespace {

using modelfile::Contents;
using modelfile::DType;
using modelfile::element_count;
using modelfile::Family;
using modelfile::TensorEntry;
using modelfile::TensorTable;
using testing::Contains;
using testing::HasSubstr;

using Renames = std::vector<std::pair<std::string, std::string>>;

// A network under other names; `qkv` ends the names of layers that are three there.
TensorTable renamed(const TensorTable& table, const Renames& renames, const Renames& split) {
    TensorTable copy;
    for (const TensorEntry& tensor : table.tensors) {
        std::string name = tensor.name;
        const auto replace = [&](const std::string& from, const std::string& to) {
            const auto at = name.find(from);
            if (at == std::string::npos) return false;
            name.replace(at, from.size(), to);
            return true;
        };
        for (const auto& [from, to] : renames) replace(from, to);
        bool is_split = false;
        for (const auto& [from, to] : split) {
            const std::string whole = name;
            for (const char part : {'q', 'k', 'v'}) {
                name = whole;
                std::string own = to;
                own.replace(own.find('*'), 1, 1, part);
                if (!replace(from, own)) continue;
                modelfile::Shape third = tensor.shape;
                third[0] /= 3;
                add_tensor(copy, name, tensor.dtype, third);
                is_split = true;
            }
            if (is_split) break;
            name = whole;
        }
        if (!is_split) add_tensor(copy, name, tensor.dtype, tensor.shape);
    }
    copy.index();
    return copy;
}

TEST(DiffusersNames, of_flux_and_sd3_give_the_same_network) {
    const Renames flux = {{"single_blocks.", "single_transformer_blocks."},
                          {"double_blocks.", "transformer_blocks."},
                          {"img_in.", "x_embedder."},
                          {"txt_in.", "context_embedder."},
                          {"final_layer.linear.", "proj_out."},
                          {"vector_in.in_layer.", "time_text_embed.text_embedder.linear_1."},
                          {"guidance_in.in_layer.", "time_text_embed.guidance_embedder.linear_1."},
                          {"txt_attn.norm.key_norm.weight", "attn.norm_added_k.weight"},
                          {"txt_attn.norm.key_norm.scale", "attn.norm_added_k.weight"},
                          {"img_mlp.0.", "ff.net.0.proj."}};
    const Renames flux_split = {{"img_attn.qkv.", "attn.to_*."},
                                {"txt_attn.qkv.", "attn.add_*_proj."}};
    const Renames sd3 = {{"joint_blocks.", "transformer_blocks."},
                         {"x_embedder.proj.", "pos_embed.proj."},
                         {"y_embedder.mlp.0.", "time_text_embed.text_embedder.linear_1."},
                         {"x_block.attn.ln_q.", "attn.norm_q."},
                         {"x_block.mlp.fc1.", "ff.net.0.proj."}};
    const Renames sd3_split = {{"context_block.attn.qkv.", "attn.add_*_proj."},
                               {"x_block.attn.qkv.", "attn.to_*."},
                               {"x_block.attn2.qkv.", "attn2.to_*."}};
    for (const std::string name : {"flux_dev", "flux_schnell"}) {
        const TensorTable table = listing(name);
        const BuiltFile file = build(renamed(table, flux, flux_split));
        ASSERT_NE(file.denoiser, nullptr) << testing::PrintToString(file.contents->notes);
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_EQ(file.contents->family, Family::Flux);
        EXPECT_EQ(params_of(*file.denoiser), params_of(table));
    }
    for (const std::string name : {"sd3_medium", "sd3_3.5_medium", "sd3_3.5_large"}) {
        const TensorTable table = listing(name);
        TensorTable other = renamed(table, sd3, sd3_split);
        for (TensorEntry& tensor : other.tensors)
            if (tensor.name == "pos_embed") tensor.name = "pos_embed.pos_embed";
        other.index();
        const BuiltFile file = build(other);
        ASSERT_NE(file.denoiser, nullptr) << testing::PrintToString(file.contents->notes);
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_EQ(file.contents->family, Family::Sd3);
        EXPECT_EQ(params_of(*file.denoiser), params_of(table));
    }
}

TEST(TencentsNames, of_hunyuan_video_give_the_same_network) {
    const Renames names = {{"img_attn.norm.key_norm.scale", "img_attn_k_norm.weight"},
                           {"img_attn.norm.query_norm.scale", "img_attn_q_norm.weight"},
                           {"_attn.qkv.", "_attn_qkv."},
                           {"_attn.proj.", "_attn_proj."},
                           {"_mlp.0.", "_mlp.fc1."},
                           {"_mlp.2.", "_mlp.fc2."},
                           {"_mod.lin.", "_mod.linear."},
                           {"guidance_in.in_layer.", "guidance_in.mlp.0."},
                           {"guidance_in.out_layer.", "guidance_in.mlp.2."}};
    const TensorTable table = listing("hunyuan_video");
    const BuiltFile file = build(renamed(table, names, {}));
    ASSERT_NE(file.denoiser, nullptr) << testing::PrintToString(file.contents->notes);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    EXPECT_EQ(params_of(*file.denoiser), params_of(table));
}

// A Linear layer's weight, as formats for quantised networks choose them.
bool is_linear(const TensorEntry& tensor) {
    return tensor.name.ends_with(".weight") && tensor.shape.size() == 2 &&
           (tensor.name.contains("blocks.") || tensor.name.contains("layers."));
}

TEST(QuantisedNetwork, in_fp8_with_scales_has_the_same_numbers) {
    const TensorTable whole = listing("flux_dev");
    for (const std::string ending : {".scale_weight", ".weight_scale"}) {
        TensorTable table;
        for (const TensorEntry& tensor : whole.tensors) {
            const bool is_fp8 = is_linear(tensor);
            add_tensor(table, tensor.name, is_fp8 ? DType::Float8E4M3 : tensor.dtype, tensor.shape);
            if (is_fp8)
                add_tensor(table, tensor.name.substr(0, tensor.name.size() - 7) + ending,
                           DType::Float32, {});
        }
        table.index();
        const BuiltFile file = build(table);
        ASSERT_NE(file.denoiser, nullptr);
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_EQ(params_of(*file.denoiser), params_of(whole));
        const modelfile::PartWeights& weights = file.contents->denoiser->weights;
        EXPECT_TRUE(weights.scaled_fp8) << ending;
        EXPECT_EQ(weights.dtype, DType::Float8E4M3);
        EXPECT_EQ(weights.params, params_of(table));
        EXPECT_EQ(weights.network_params, params_of(whole));
    }
}

TEST(QuantisedNetwork, that_packs_two_values_in_a_byte_keeps_its_width) {
    for (const std::string name : {"flux_dev", "qwen_image", "z_image_base", "wan_t2v_14B"}) {
        const TensorTable whole = listing(name);
        TensorTable table;
        for (const TensorEntry& tensor : whole.tensors) {
            if (!is_linear(tensor)) {
                add_tensor(table, tensor.name, tensor.dtype, tensor.shape);
                continue;
            }
            const std::int64_t rows = tensor.shape[0];
            const std::int64_t columns = tensor.shape[1];
            add_tensor(table, tensor.name, DType::UInt8, {rows, columns / 2});
            add_tensor(table, tensor.name + "_scale", DType::Float8E4M3, {rows, columns / 16});
            add_tensor(table, tensor.name + "_scale_2", DType::Float32, {});
        }
        table.index();
        const Contents contents = modelfile::detect_contents(table);
        ASSERT_TRUE(contents.denoiser) << name << testing::PrintToString(contents.notes);
        EXPECT_EQ(contents.denoiser->weights.network_params, params_of(whole)) << name;
        EXPECT_EQ(contents.denoiser->weights.dtype, DType::Float4E2M1) << name;
        std::int64_t bytes = 0;
        for (const TensorEntry& tensor : table.tensors) bytes += tensor.bytes.count;
        EXPECT_EQ(contents.denoiser->weights.bytes.count, bytes) << name;
        const BuiltFile file = build(table);
        ASSERT_NE(file.denoiser, nullptr) << name;
        EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
        EXPECT_TRUE(unpacks_to_run(file.contents->denoiser->weights)) << name;
        // As the loader counts it: within what biases take.
        const Types types{ComputeType::BFloat16, ComputeType::BFloat16};
        const auto loaded = static_cast<double>(loadable_unet(name, file, types)->size_bytes);
        EXPECT_NEAR(loaded / static_cast<double>(bytes), 1.0, 0.003) << name;
    }
}

TEST(QuantisedNetwork, whose_shapes_are_lost_gets_a_note) {
    const TensorTable whole = listing("flux_dev");
    TensorTable table;
    for (const TensorEntry& tensor : whole.tensors) {
        if (!tensor.name.ends_with(".weight") || tensor.shape.size() != 2) {
            add_tensor(table, tensor.name, tensor.dtype, tensor.shape);
            continue;
        }
        add_tensor(table, tensor.name, DType::UInt8, {element_count(tensor.shape) / 2, 1});
        add_tensor(table, tensor.name + ".absmax", DType::Float32,
                   {element_count(tensor.shape) / 64});
    }
    table.index();
    const Contents contents = modelfile::detect_contents(table);
    EXPECT_FALSE(contents.denoiser);
    EXPECT_THAT(contents.notes, Contains(HasSubstr("packed")));
    EXPECT_THAT(contents.notes, Contains(HasSubstr("Flux")));
}

TEST(QuantisedNetwork, of_gguf_blocks_keeps_their_type) {
    const TensorTable whole = listing("flux_dev");
    TensorTable table;
    for (const TensorEntry& tensor : whole.tensors)
        add_tensor(table, tensor.name, is_linear(tensor) ? DType::Q4_K : DType::Float32,
                   tensor.shape);
    table.index();
    const BuiltFile file = build(table);
    ASSERT_TRUE(file.contents->denoiser);
    EXPECT_EQ(file.contents->denoiser->weights.dtype, DType::Q4_K);
    EXPECT_EQ(file.contents->denoiser->weights.network_params, params_of(whole));
    ASSERT_NE(file.denoiser, nullptr);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    EXPECT_EQ(file.contents->denoiser->weights.linear_millibits, 4500);
}

TEST(TextEncoder, in_scaled_fp8_is_told_from_plain) {
    const TensorTable whole = listing("te_t5xxl");
    TensorTable table;
    for (const TensorEntry& tensor : whole.tensors) {
        const bool is_fp8 = tensor.shape.size() == 2 && tensor.name.contains("layer.");
        add_tensor(table, tensor.name, is_fp8 ? DType::Float8E4M3 : tensor.dtype, tensor.shape);
        if (is_fp8)
            add_tensor(table, tensor.name.substr(0, tensor.name.size() - 7) + ".scale_weight",
                       DType::Float32, {});
    }
    add_tensor(table, "scaled_fp8", DType::Float8E4M3, {2});
    table.index();
    const BuiltFile file = build(table);
    ASSERT_EQ(file.text_encoders.size(), 1U);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    const auto& part = file.contents->text_encoders.front();
    EXPECT_TRUE(part.weights.scaled_fp8);
    EXPECT_TRUE(std::get<modelfile::T5Config>(part.config).scaled_fp8);
}

TEST(TextEncoder, in_nvfp4_has_the_bits_of_its_own_tensors) {
    const TensorTable whole = listing("te_t5xxl");
    TensorTable table;
    for (const TensorEntry& tensor : whole.tensors) {
        const bool is_linear = tensor.shape.size() == 2 && tensor.name.contains("layer.") &&
                               !tensor.name.contains("relative_attention_bias");
        if (!is_linear) {
            add_tensor(table, tensor.name, tensor.dtype, tensor.shape);
            continue;
        }
        const auto rows = tensor.shape[0];
        const auto columns = tensor.shape[1];
        add_tensor(table, tensor.name, DType::UInt8, {rows, columns / 2});
        add_tensor(table, tensor.name + "_scale", DType::Float8E4M3, {rows, columns / 16});
        add_tensor(table, tensor.name + "_scale_2", DType::Float32, {});
    }
    table.index();
    const BuiltFile file = build(table);
    ASSERT_EQ(file.text_encoders.size(), 1U);
    const auto& part = file.contents->text_encoders.front();
    EXPECT_EQ(part.weights.linear_millibits, 4500);  // four bits, and eight for each sixteen
    const BuiltTextEncoder& encoder = file.text_encoders.front();
    const double built = static_cast<double>(encoder.network().weights(encoder.stored).count);
    EXPECT_NEAR(built / static_cast<double>(part.weights.bytes.count), 1.0, 0.0005);
}

}  // namespace
}  // namespace plimsoll::memory
