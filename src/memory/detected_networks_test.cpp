// SPDX-License-Identifier: Apache-2.0
// Goal: a file of any network that is walked gives, by its tensors alone, the ghost network with
// exactly those tensors; any other file gives a note. Method: listings of whole networks (recorded
// from the real Python modules), as they are and with tensors missing or changed.
#include "memory/detected_fixture.h"

#include <gmock/gmock.h>

#include <functional>
#include <map>
#include <ostream>

namespace plimsoll::memory {
namespace {

using modelfile::Contents;
using modelfile::element_count;
using modelfile::Family;
using modelfile::TensorEntry;
using modelfile::TensorTable;
using testing::Contains;
using testing::HasSubstr;

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
        std::string module = dot == std::string::npos ? "" : tensor.name.substr(0, dot);
        // A normed weight is a module of its own in newer files.
        constexpr std::string_view kNormed = ".parametrizations.weight";
        if (module.ends_with(kNormed)) module.resize(module.size() - kNormed.size());
        modules[module] += element_count(tensor.shape);
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
    {"svd", Family::Svd},
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
    {"chroma_radiance_base", Family::ChromaRadiance},
    {"mage_flow_base", Family::MageFlow},
    {"krea2_base", Family::Krea2},
    {"ideogram4_base", Family::Ideogram4},
    {"ernie_base", Family::ErnieImage},
    {"hidream", Family::HiDream},
    {"hidream_o1", Family::HiDreamO1},
    {"hidream_i1", Family::HiDream},
    {"kandinsky5_image_lite", Family::Kandinsky5Image},
    {"pixeldit_t2i_base", Family::PixelDit},
    {"qwen_image", Family::QwenImage},
    {"qwen_image_base", Family::QwenImage},
    {"lumina2", Family::Lumina2},
    {"lumina2_2304", Family::Lumina2},
    {"z_image_base", Family::ZImage},
    {"omnigen2", Family::OmniGen2},
    {"omnigen2_t2i", Family::OmniGen2},
    {"boogu_base", Family::Boogu},
    {"cosmos_predict2_2B", Family::CosmosPredict2},
    {"cosmos_predict2_2b", Family::CosmosPredict2},
    {"cosmos_predict2_14B", Family::CosmosPredict2},
    {"anima_2B", Family::Anima},
    {"hunyuan_video", Family::HunyuanVideo},
    {"hunyuan_video_t2v", Family::HunyuanVideo},
    {"hunyuan_video15_t2v", Family::HunyuanVideo15},
    {"hunyuan_video15_i2v", Family::HunyuanVideo15},
    {"hunyuan_video15_sr_distilled", Family::HunyuanVideo15},
    {"hunyuanimage21_base", Family::HunyuanImage21},
    {"hunyuanimage21_distilled", Family::HunyuanImage21},
    {"hunyuanimage21_refiner", Family::HunyuanImage21Refiner},
    {"ltxv_2B", Family::Ltxv},
    {"ltxv_13B", Family::Ltxv},
    {"ltxav_ltx2_19B", Family::Ltxav},
    {"ltxav_ltx2.3_22B", Family::Ltxav},
    {"minimax_h3", Family::MiniMaxH3},
    {"seedvr2_3B", Family::SeedVr2},
    {"seedvr2_7B", Family::SeedVr2},
    {"kandinsky5_lite_video", Family::Kandinsky5},
    {"kandinsky5_pro_video", Family::Kandinsky5},
    {"ace_step", Family::AceStep},
    {"ace_step_35B", Family::AceStep},
    {"ace_step15_2B", Family::AceStep15},
    {"stable_audio", Family::StableAudio},
    {"minimax_music3", Family::MiniMaxMusic3},
    {"wan_t2v_1.3B", Family::Wan},
    {"wan_t2v_14B", Family::Wan},
    {"wan_i2v_14B", Family::Wan},
    {"wan_wan22_i2v_14B", Family::Wan},
    {"wan_wan22_ti2v_5B", Family::Wan},
    {"wan_wan22_ti2v_5B_i2v", Family::Wan},
    {"wan_fun_control", Family::Wan},
    {"wan_fun_camera", Family::Wan},
    {"wan_animate2", Family::Wan},  // the very tensors of image to video
    {"wan_wan22_s2v_14B", Family::Wan},
    {"wan_humo_17B", Family::Wan},
    {"wan_scail_14B", Family::Wan},
    {"wan_wan22_animate_14B", Family::WanAnimate},
    {"wan_vace_1.3B", Family::WanVace},
    {"wan_vace_14B", Family::WanVace},
    {"kl_vae"},
    {"vae_kl4"},
    {"vae_kl16"},
    {"flux_vae"},
    {"seedvr2_vae"},
    {"minimax_h3_audio_vae"},
    {"wan21_vae"},
    {"wan22_vae"},
    {"flux2_vae"},
    {"hunyuan_video_vae"},
    {"hunyuan_video15_vae"},
    {"hunyuanimage21_vae"},
    {"minimax_h3_vae"},
    {"hunyuanimage21_refiner_vae"},
    {"ace_vae"},
    {"ace_step15_vae"},
    {"stable_audio_vae"},
    {"ltxv_vae_v0"},
    {"ltxv_vae_v2_ltx0.9.7"},
    {"ltxv_vae_ltx2"},
    {"ltx24_vae"},
    {"svd_vae"},
    {"cosmos1_vae"},
    {"mage_vae"},
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
        [](TensorEntry& tensor) {
            tensor.shape.assign(9, 2);  // more axes than any layer has
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

// Goal: files of 0.3.64's time, with statistics that newer versions do not read, are known too.
TEST(LtxVae, is_known_with_statistics_that_nothing_reads) {
    for (const std::string name : {"ltxv_vae_v1", "ltxv_vae_v2"}) {
        const BuiltFile file = build(listing(name));
        ASSERT_NE(file.vae, nullptr) << name;
        EXPECT_EQ(file.vae->kind(), VaeKind::Ltx) << name;
        EXPECT_TRUE(file.notes.empty()) << name << testing::PrintToString(file.notes);
    }
}

// Goal: a checkpoint of LTX-2 holds two VAEs, and each loader gets its own. Method: the two
// listings joined as in the published file.
TEST(LtxVae, has_one_for_sound_beside_it_in_a_checkpoint) {
    const TensorTable sound = listing("ltxav_audio_vae");
    const BuiltFile alone = build(sound);
    ASSERT_NE(alone.vae, nullptr);
    EXPECT_EQ(alone.vae->kind(), VaeKind::LtxSound);
    EXPECT_EQ(alone.sound, nullptr);
    EXPECT_EQ(params_of(*alone.vae), params_of(sound));

    const TensorTable video = listing("ltxv_vae_ltx2");
    const std::vector<modelfile::TablePart> parts{{"vae.", &video}, {"", &sound}};
    const BuiltFile both = build(join_tables(parts));
    ASSERT_NE(both.vae, nullptr);
    EXPECT_EQ(both.vae->kind(), VaeKind::Ltx);
    ASSERT_NE(both.sound, nullptr);
    EXPECT_EQ(both.sound->vae->kind(), VaeKind::LtxSound);
    EXPECT_TRUE(both.notes.empty());
}

// Goal: relatives and strangers are not taken for a network that is walked. Method: their listings.
TEST(OtherNetwork, gets_a_note_that_names_it_and_no_denoiser) {
    const std::vector<std::pair<std::string, std::string>> kOthers = {
        {"cosmos1_7B", "Cosmos 1"},
        {"hunyuandit", "HunyuanDiT"},
        {"te_gpt_oss_20b", "GPT-OSS"},
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
}

}  // namespace
}  // namespace plimsoll::memory
