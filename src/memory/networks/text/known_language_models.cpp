// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/known_language_models.h"

#include <utility>

namespace plimsoll::memory {

namespace {

using Config = modelfile::DecoderConfig;
using Kind = DecoderOutput::Kind;

Config with(Config config, auto change) {
    change(config);
    return config;
}

DecoderOutput hidden(int layer) {
    DecoderOutput output;
    output.kind = Kind::Hidden;
    output.hidden_layer = layer;
    return output;
}

DecoderOutput normal_hidden(int layer) {
    DecoderOutput output = hidden(layer);
    output.normalize_hidden = true;
    return output;
}

DecoderOutput stacked(std::vector<int> layers) {
    DecoderOutput output;
    output.kind = Kind::Layers;
    output.layers = std::move(layers);
    return output;
}

DecoderOutput all_stacked() {
    DecoderOutput output;
    output.kind = Kind::All;
    return output;
}

DecoderOutput unmasked() {
    DecoderOutput output;
    output.masked = false;
    return output;
}

DecoderOutput zeroed_where_masked() {
    DecoderOutput output;
    output.zero_out_masked = true;
    return output;
}

using Models = std::vector<KnownLanguageModel>;

void add_qwen25(Models& models) {
    models.push_back({"qwen25_7b",
                      "",
                      "Qwen25_7BVLIModel",
                      {.vocab_size = 152064,
                       .hidden_size = 3584,
                       .intermediate_size = 18944,
                       .num_hidden_layers = 28,
                       .num_attention_heads = 28,
                       .num_key_value_heads = 4,
                       .qkv_bias = true,
                       .vision = "qwen25vl"},
                      {}});
    models.push_back({"qwen25_3b",
                      "omnigen2",
                      "Qwen25_3BModel",
                      {.vocab_size = 151936,
                       .hidden_size = 2048,
                       .intermediate_size = 11008,
                       .num_hidden_layers = 36,
                       .num_attention_heads = 16,
                       .num_key_value_heads = 2,
                       .qkv_bias = true},
                      {}});
}

struct Qwen3Sizes {
    int hidden;
    int intermediate;
    int depth;
    int heads;
};
Config qwen3(const Qwen3Sizes& sizes) {
    return {.vocab_size = 151936,
            .hidden_size = sizes.hidden,
            .intermediate_size = sizes.intermediate,
            .num_hidden_layers = sizes.depth,
            .num_attention_heads = sizes.heads,
            .q_norm = true};
}
constexpr Qwen3Sizes k06B{1024, 3072, 28, 16};
constexpr Qwen3Sizes k2B{2048, 6144, 28, 16};
constexpr Qwen3Sizes k4B{2560, 9728, 36, 32};
constexpr Qwen3Sizes k8B{4096, 12288, 36, 32};
constexpr Qwen3Sizes k32B{5120, 25600, 50, 64};  // cut off after 50 of its 64 layers

void add_qwen3(Models& models) {
    const auto vocabulary = [](int size) { return [size](Config& c) { c.vocab_size = size; }; };
    const DecoderOutput klein = stacked({9, 18, 27});
    models.push_back(
        {"qwen3_06b", "ace15", "Qwen3_06BModel", with(qwen3(k06B), vocabulary(151669)), {}});
    models.push_back({"qwen3_06b", "anima", "Qwen3_06BModel", qwen3(k06B), {}});
    models.push_back(
        {"qwen3_2b_lm", "ace15", "Qwen3_2B_ACE15", with(qwen3(k2B), vocabulary(217204)), {}});
    models.push_back({"qwen3_4b", "klein", "Qwen3_4BModel", qwen3(k4B), klein});
    models.push_back({"qwen3_4b", "zimage", "Qwen3_4BModel", qwen3(k4B), hidden(-2)});
    models.push_back({"qwen3_8b", "klein", "Qwen3_8BModel",
                      with(qwen3(k8B), [](Config& c) { c.lm_head = true; }), klein});
    models.push_back({"ovis25_2b", "", "Ovis25_2BModel", qwen3(k2B), zeroed_where_masked()});
}

void add_qwen3vl(Models& models) {
    const Config vl_4b = with(qwen3(k4B), [](Config& c) { c.vision = "qwen3vl_l"; });
    const Config vl_8b = with(qwen3(k8B), [](Config& c) {
        c.lm_head = true;
        c.vision = "qwen3vl_so";
    });
    const Config vl_32b = with(qwen3(k32B), [](Config& c) {
        c.final_norm = false;
        c.vision = "qwen3vl_so";
    });
    const Config text_8b = with(qwen3(k8B), [](Config& c) { c.final_norm = false; });
    models.push_back({"qwen3vl_4b", "krea2", "Krea2Qwen3VLClipModel", vl_4b,
                      stacked({2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35})});
    models.push_back(
        {"qwen3vl_4b", "mage_flow", "MageFlowQwen3VLClipModel", vl_4b, normal_hidden(-1)});
    models.push_back({"qwen3vl_8b", "boogu", "BooguQwen3VLClipModel", vl_8b, normal_hidden(-1)});
    models.push_back({"qwen3vl_8b", "joyimage", "_JoyImageClipModel", vl_8b, hidden(-1)});
    models.push_back({"qwen3vl_8b", "ideogram4", "Qwen3VL8BModel", text_8b,
                      stacked({1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 36})});
    models.push_back({"qwen3vl_32b", "minimax", "MiniMaxH3ClipModel", vl_32b, unmasked()});
}

void add_llama_and_mistral(Models& models) {
    const Config mistral{.vocab_size = 131072,
                         .hidden_size = 5120,
                         .intermediate_size = 32768,
                         .num_hidden_layers = 40};
    const Config pruned = with(mistral, [](Config& c) {
        c.num_hidden_layers = 30;
        c.final_norm = false;
    });
    const DecoderOutput flux2 = stacked({10, 20, 30});
    models.push_back({"llama3_8b_hv", "", "LLAMAModel", {}, hidden(-3)});
    models.push_back({"llama3_8b_hidream", "", "LLAMAModel", {}, all_stacked()});
    models.push_back({"mistral3_24b", "flux2_pruned30", "Mistral3_24BModel", pruned, flux2});
    models.push_back({"mistral3_24b", "flux2", "Mistral3_24BModel", mistral, flux2});
    models.push_back({"ministral3_3b",
                      "ernie",
                      "Ministral3_3BModel",
                      {.vocab_size = 131072,
                       .hidden_size = 3072,
                       .intermediate_size = 9216,
                       .num_hidden_layers = 26},
                      hidden(-2)});
}

void add_gemma(Models& models) {
    models.push_back({"gemma2_2b",
                      "",
                      "Gemma2_2BModel",
                      {.vocab_size = 256000,
                       .hidden_size = 2304,
                       .intermediate_size = 9216,
                       .num_hidden_layers = 26,
                       .num_attention_heads = 8,
                       .num_key_value_heads = 4,
                       .head_dim = 256,
                       .transformer_type = "gemma2"},
                      hidden(-2)});
    models.push_back({"gemma3_12b",
                      "ltxav",
                      "Gemma3_12B",
                      {.vocab_size = 262208,
                       .hidden_size = 3840,
                       .intermediate_size = 15360,
                       .num_hidden_layers = 48,
                       .num_attention_heads = 16,
                       .num_key_value_heads = 8,
                       .head_dim = 256,
                       .q_norm = true,
                       .transformer_type = "gemma3",
                       .vision = "siglip"},
                      all_stacked()});
}

}  // namespace

std::vector<KnownLanguageModel> known_language_models() {
    Models models;
    add_qwen25(models);
    add_qwen3(models);
    add_qwen3vl(models);
    add_llama_and_mistral(models);
    add_gemma(models);
    return models;
}

}  // namespace plimsoll::memory
