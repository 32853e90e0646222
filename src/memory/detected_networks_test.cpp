// SPDX-License-Identifier: Apache-2.0
// Goal: a file of any network that is walked gives, by its tensors alone, the ghost network with
// exactly those tensors; any other file gives a note. Method: listings of whole networks (recorded
// from the real Python modules), as they are, quantised, and with tensors missing or changed.
#include "memory/built_models.h"
#include "memory/networks/clip_text.h"
#include "memory/networks/denoiser.h"
#include "memory/networks/gz_fixture.h"
#include "memory/networks/text/text_encoder.h"
#include "memory/networks/vae.h"
#include "modelfile/detect.h"
#include "modelfile/sparse_file.h"

#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <ostream>

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

TensorTable listing(const std::string& name) {
    Result<TensorTable> table =
        modelfile::parse_listing(recorded_text("modelfile/headers/" + name + ".json.gz"));
    EXPECT_TRUE(table) << name;
    return table ? *std::move(table) : TensorTable{};
}

BuiltFile build(const TensorTable& table) {
    return build_file(std::make_shared<Contents>(modelfile::detect_contents(table)));
}

const Network* network_of(const BuiltFile& file) {
    if (file.denoiser) return file.denoiser.get();
    if (file.vae) return file.vae.get();
    return file.text_encoders.empty() ? nullptr : &file.text_encoders.front().network();
}

std::int64_t params_of(const Network& network) {
    std::int64_t params = 0;
    for (const ModuleEntry& module : network.modules())
        params += module.elements - module.unsaved_elements;
    return params;
}

std::int64_t params_of(const TensorTable& table) {
    std::int64_t params = 0;
    for (const TensorEntry& tensor : table.tensors) params += element_count(tensor.shape);
    return params;
}

using ElementsByModule = std::map<std::string, std::int64_t>;

ElementsByModule modules_of(const Network& network) {
    ElementsByModule modules;
    for (const ModuleEntry& module : network.modules())
        if (module.elements > module.unsaved_elements)
            modules[module.path] += module.elements - module.unsaved_elements;
    return modules;
}

ElementsByModule modules_of(const TensorTable& table) {
    ElementsByModule modules;
    for (const TensorEntry& tensor : table.tensors) {
        const std::size_t dot = tensor.name.rfind('.');
        modules[dot == std::string::npos ? "" : tensor.name.substr(0, dot)] +=
            element_count(tensor.shape);
    }
    return modules;
}

struct Listed {
    std::string name;
    Family family = Family::Unknown;  // of text encoders and VAEs: unknown
    friend void PrintTo(const Listed& shown, std::ostream* out) { *out << shown.name; }
};

const std::vector<Listed> kWalked = {
    {"sd15", Family::Sd15},
    {"sd15_inpaint9", Family::Sd15},
    {"sd21", Family::Sd20},
    {"sdxl", Family::Sdxl},
    {"sdxl_inpaint9", Family::Sdxl},
    {"sd3_medium", Family::Sd3},
    {"sd3_3.5_medium", Family::Sd3},
    {"sd3_3.5_large", Family::Sd3},
    {"pixart_sigma", Family::PixArtSigma},
    {"pixart_sigma_1024ms", Family::PixArtSigma},
    {"flux", Family::Flux},
    {"flux_dev", Family::Flux},
    {"flux_schnell", Family::Flux},
    {"flux2_dev", Family::Flux2},
    {"flux2_klein_4B", Family::Flux2},
    {"flux2_klein_9B", Family::Flux2},
    {"longcat_image", Family::LongCatImage},
    {"chroma", Family::Chroma},
    {"chroma_base", Family::Chroma},
    {"qwen_image", Family::QwenImage},
    {"qwen_image_base", Family::QwenImage},
    {"lumina2", Family::Lumina2},
    {"lumina2_2304", Family::Lumina2},
    {"z_image_base", Family::ZImage},
    {"omnigen2", Family::OmniGen2},
    {"omnigen2_t2i", Family::OmniGen2},
    {"cosmos_predict2_2B", Family::CosmosPredict2},
    {"cosmos_predict2_2b", Family::CosmosPredict2},
    {"cosmos_predict2_14B", Family::CosmosPredict2},
    {"anima_2B", Family::Anima},
    {"hunyuan_video", Family::HunyuanVideo},
    {"hunyuan_video_t2v", Family::HunyuanVideo},
    {"hunyuanimage21_base", Family::HunyuanImage21},
    {"hunyuanimage21_distilled", Family::HunyuanImage21},
    {"hunyuanimage21_refiner", Family::HunyuanImage21Refiner},
    {"wan_t2v_1.3B", Family::Wan},
    {"wan_t2v_14B", Family::Wan},
    {"wan_i2v_14B", Family::Wan},
    {"wan_wan22_i2v_14B", Family::Wan},
    {"wan_wan22_ti2v_5B", Family::Wan},
    {"wan_wan22_ti2v_5B_i2v", Family::Wan},
    {"wan_fun_control", Family::Wan},
    {"wan_fun_camera", Family::Wan},
    {"wan_animate2", Family::Wan},  // the very tensors of image to video
    {"wan_vace_1.3B", Family::WanVace},
    {"wan_vace_14B", Family::WanVace},
    {"kl_vae"},
    {"vae_kl4"},
    {"vae_kl16"},
    {"flux_vae"},
    {"wan21_vae"},
    {"wan22_vae"},
    {"t5_xxl"},
    {"te_t5xxl"},
    {"te_t5xxl_mask"},
    {"te_umt5xxl"},
    {"te_byt5_small"},
    {"te_qwen25_7b"},
    {"te_qwen25_3b"},
    {"te_qwen3_06b"},
    {"te_qwen3_4b"},
    {"te_qwen3_8b"},
    {"te_qwen3vl_4b_krea2"},
    {"te_qwen3vl_8b_ideogram4"},
    {"te_qwen3vl_32b"},
    {"te_ovis25_2b"},
    {"te_ace15_2b"},
    {"te_llama3_8b"},
    {"te_llama3_8b_hv"},
    {"te_llama3_8b_hidream"},
    {"te_mistral3_24b"},
    {"te_mistral3_24b_pruned30"},
    {"te_ministral3_3b"},
    {"te_gemma2_2b"},
    {"te_gemma3_12b"},
};

class WalkedNetwork : public testing::TestWithParam<Listed> {};

TEST_P(WalkedNetwork, has_exactly_the_tensors_of_its_file) {
    const TensorTable table = listing(GetParam().name);
    const BuiltFile file = build(table);
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    EXPECT_TRUE(file.contents->notes.empty()) << testing::PrintToString(file.contents->notes);
    EXPECT_EQ(family_name(file.contents->family), family_name(GetParam().family));
    const Network* network = network_of(file);
    ASSERT_NE(network, nullptr);
    EXPECT_EQ(params_of(*network), params_of(table));
    if (GetParam().name == "te_gemma3_12b") return;  // keeps a projection under another name
    const ElementsByModule recorded = modules_of(table);
    const ElementsByModule built = modules_of(*network);
    for (const auto& [path, elements] : recorded) {
        const auto found = built.find(path);
        ASSERT_NE(found, built.end()) << path;
        EXPECT_EQ(found->second, elements) << path;
    }
    EXPECT_EQ(built.size(), recorded.size());
}

TEST_P(WalkedNetwork, is_found_inside_a_checkpoint_too) {
    const bool is_denoiser = GetParam().family != Family::Unknown;
    const TensorTable table = listing(GetParam().name);
    const std::string prefix = is_denoiser                       ? "model.diffusion_model."
                               : GetParam().name.contains("vae") ? "first_stage_model."
                                                                 : "text_encoders.some.";
    const TensorTable vae = listing("flux_vae");
    const bool has_vae = GetParam().name.contains("vae");
    std::vector<modelfile::TablePart> parts{{prefix, &table}};
    if (!has_vae) parts.push_back({"vae.", &vae});
    const BuiltFile file = build(join_tables(parts));
    EXPECT_TRUE(file.notes.empty()) << testing::PrintToString(file.notes);
    ASSERT_NE(file.vae, nullptr);
    if (has_vae) return;
    const Network* network = network_of(file);
    ASSERT_NE(network, nullptr);
    if (is_denoiser) {
        EXPECT_EQ(params_of(*network), params_of(table));
        EXPECT_EQ(file.contents->denoiser->weights.network_params, params_of(table));
    } else {
        ASSERT_EQ(file.text_encoders.size(), 1U);
        EXPECT_EQ(params_of(file.text_encoders.front().network()), params_of(table));
    }
}

// A table with one tensor per kind changed: `change` answers false to drop it.
TensorTable changed(const TensorTable& table, std::size_t at,
                    const std::function<bool(TensorEntry&)>& change) {
    TensorTable copy;
    for (std::size_t i = 0; i < table.tensors.size(); ++i) {
        TensorEntry tensor = table.tensors[i];
        if (i == at && !change(tensor)) continue;
        add_tensor(copy, tensor.name, tensor.dtype, tensor.shape);
    }
    copy.index();
    return copy;
}

// The first and the last of tensors whose names differ in numbers only.
std::vector<std::size_t> representatives(const TensorTable& table) {
    std::map<std::string, std::pair<std::size_t, std::size_t>> kinds;
    for (std::size_t i = 0; i < table.tensors.size(); ++i) {
        std::string kind = table.tensors[i].name;
        std::erase_if(kind, [](char c) { return c >= '0' && c <= '9'; });
        const auto [entry, is_new] = kinds.emplace(kind, std::pair(i, i));
        if (!is_new) entry->second.second = i;
    }
    std::vector<std::size_t> chosen;
    for (const auto& [kind, ends] : kinds) {
        chosen.push_back(ends.first);
        if (ends.second != ends.first) chosen.push_back(ends.second);
    }
    return chosen;
}

TEST_P(WalkedNetwork, with_a_tensor_missing_or_changed_is_never_taken_for_whole) {
    const TensorTable table = listing(GetParam().name);
    const std::vector<std::function<bool(TensorEntry&)>> changes = {
        [](TensorEntry&) { return false; },
        [](TensorEntry& tensor) {
            for (std::int64_t& axis : tensor.shape) axis += 1;
            return true;
        },
        [](TensorEntry& tensor) {
            tensor.shape.assign(1, 1 << 20U);
            return true;
        },
    };
    for (const std::size_t at : representatives(table)) {
        for (const auto& change : changes) {
            const TensorTable odd = changed(table, at, change);
            const BuiltFile file = build(odd);
            const Network* network = network_of(file);
            const bool is_noted = !file.notes.empty() || !file.contents->notes.empty();
            if (network == nullptr) {
                EXPECT_TRUE(is_noted) << table.tensors[at].name;
                continue;
            }
            const bool logit_scale = table.tensors[at].name == "logit_scale";
            if (params_of(*network) != params_of(odd) && !logit_scale)
                EXPECT_TRUE(is_noted) << table.tensors[at].name;
        }
    }
}

INSTANTIATE_TEST_SUITE_P(Listings, WalkedNetwork, testing::ValuesIn(kWalked), [](const auto& test) {
    std::string name = test.param.name;
    for (char& c : name)
        if (c == '.') c = '_';
    return name;
});

// Goal: relatives and strangers are not taken for a network that is walked. Method: their listings.
TEST(OtherNetwork, gets_a_note_that_names_it_and_no_denoiser) {
    const std::vector<std::pair<std::string, std::string>> kOthers = {
        {"chroma_radiance_base", "Chroma Radiance"},
        {"hunyuan_video15_t2v", "HunyuanVideo 1.5"},
        {"hunyuan_video15_i2v", "HunyuanVideo 1.5"},
        {"hunyuan_video15_sr_distilled", "HunyuanVideo 1.5"},
        {"wan_wan22_animate_14B", "Animate"},
        {"wan_wan22_s2v_14B", "S2V"},
        {"wan_humo_17B", "HuMo"},
        {"wan_scail_14B", "SCAIL"},
        {"boogu_base", "Boogu"},
        {"mage_flow_base", "Mage-Flow"},
        {"ernie_base", "Ernie"},
        {"krea2_base", "Krea 2"},
        {"ideogram4_base", "Ideogram 4"},
        {"kandinsky5_image_lite", "Kandinsky 5"},
        {"kandinsky5_lite_video", "Kandinsky 5"},
        {"kandinsky5_pro_video", "Kandinsky 5"},
        {"ltxv_2B", "LTX-Video"},
        {"ltxv_13B", "LTX-Video"},
        {"ltxav_ltx2_19B", "LTX-2"},
        {"ltxav_ltx2.3_22B", "LTX-2"},
        {"cosmos1_7B", "Cosmos 1"},
        {"ace_step", "ACE-Step"},
        {"ace_step_35B", "ACE-Step"},
        {"ace_step15_2B", "ACE-Step 1.5"},
        {"hidream", "HiDream"},
        {"hidream_i1", "HiDream"},
        {"hidream_o1", "HiDream O1"},
        {"hunyuandit", "HunyuanDiT"},
        {"minimax_h3", "MiniMax H3"},
        {"minimax_music3", "MiniMax Music 3"},
        {"pixeldit_t2i_base", "PixelDiT"},
        {"seedvr2_3B", "SeedVR 2"},
        {"seedvr2_7B", "SeedVR 2"},
        {"stable_audio", "Stable Audio"},
        {"te_gpt_oss_20b", "GPT-OSS"},
        {"clip_vision_h", "vision encoder"},
        {"siglip_384", "vision encoder"},
        {"flux2_vae", "Flux 2"},
        {"esrgan_rrdb_x4", "ESRGAN"},
    };
    for (const auto& [name, note] : kOthers) {
        const TensorTable table = listing(name);
        const Contents contents = modelfile::detect_contents(table);
        EXPECT_FALSE(contents.denoiser) << name;
        EXPECT_FALSE(contents.vae) << name;
        EXPECT_TRUE(contents.text_encoders.empty()) << name;
        EXPECT_THAT(contents.notes, Contains(HasSubstr(note))) << name;
        EXPECT_EQ(contents.everything.params, params_of(table)) << name;
    }
    for (const std::string name : {"ace_step15_vae",     "ace_vae",
                                   "cosmos1_vae",        "hunyuan_video15_vae",
                                   "hunyuan_video_vae",  "hunyuanimage21_refiner_vae",
                                   "hunyuanimage21_vae", "ltx24_vae",
                                   "ltxav_audio_vae",    "ltxv_vae_ltx2",
                                   "ltxv_vae_v0",        "ltxv_vae_v1",
                                   "ltxv_vae_v2",        "ltxv_vae_v2_ltx0.9.7",
                                   "mage_vae",           "minimax_h3_audio_vae",
                                   "minimax_h3_vae",     "seedvr2_vae",
                                   "stable_audio_vae",   "svd_vae",
                                   "clip_vision_g",      "clip_vision_vitl"}) {
        const Contents contents = modelfile::detect_contents(listing(name));
        EXPECT_FALSE(contents.denoiser) << name;
        EXPECT_FALSE(contents.vae) << name;
        EXPECT_TRUE(contents.text_encoders.empty()) << name;
        EXPECT_FALSE(contents.notes.empty()) << name;
    }
}

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
        EXPECT_EQ(file.denoiser, nullptr);
        EXPECT_THAT(file.notes, Contains(HasSubstr("not simulated yet")));
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
    EXPECT_THAT(file.notes, Contains(HasSubstr("q4_k")));
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

}  // namespace
}  // namespace plimsoll::memory
