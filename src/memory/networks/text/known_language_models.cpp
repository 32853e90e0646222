// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/text/known_language_models.h"

#include "base/check.h"
#include "modelfile/architectures.h"

#include <utility>
#include <variant>

namespace plimsoll::memory {

namespace {

using Config = modelfile::DecoderConfig;
using Kind = DecoderOutput::Kind;

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

// The catalogue is compiled in: that it holds these is a promise of the build, not input.
Config sizes(std::string_view name) {
    const Result<modelfile::TextEncoderConfig> known = modelfile::known_text_encoder(name);
    CHECK(known.has_value());
    const auto* config = std::get_if<Config>(&*known);
    CHECK(config != nullptr);
    return *config;
}

void add_qwen(Models& models) {
    const DecoderOutput klein = stacked({9, 18, 27});
    models.push_back({"qwen25_7b", "", "Qwen25_7BVLIModel", sizes("qwen25_7b"), {}});
    models.push_back({"qwen25_3b", "omnigen2", "Qwen25_3BModel", sizes("qwen25_3b"), {}});
    models.push_back({"qwen3_06b", "ace15", "Qwen3_06BModel", sizes("qwen3_06b_ace15"), {}});
    models.push_back({"qwen3_06b", "anima", "Qwen3_06BModel", sizes("qwen3_06b"), {}});
    models.push_back({"qwen3_2b_lm", "ace15", "Qwen3_2B_ACE15", sizes("qwen3_2b_lm"), {}});
    models.push_back({"qwen3_4b_lm", "ace15", "Qwen3_4B_ACE15", sizes("qwen3_4b_lm"), {}});
    models.push_back(
        {"minimax_music3_lm", "", "MiniMaxMusic3TEModel", sizes("minimax_music3_lm"), {}});
    models.push_back({"qwen3_4b", "klein", "Qwen3_4BModel", sizes("qwen3_4b"), klein});
    models.push_back({"qwen3_4b", "zimage", "Qwen3_4BModel", sizes("qwen3_4b"), hidden(-2)});
    models.push_back({"qwen3_8b", "klein", "Qwen3_8BModel", sizes("qwen3_8b"), klein});
    models.push_back(
        {"ovis25_2b", "", "Ovis25_2BModel", sizes("ovis25_2b"), zeroed_where_masked()});
}

void add_qwen3vl(Models& models) {
    const Config vl_4b = sizes("qwen3vl_4b");
    const Config vl_8b = sizes("qwen3vl_8b");
    models.push_back({"qwen3vl_4b", "krea2", "Krea2Qwen3VLClipModel", vl_4b,
                      stacked({2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35})});
    models.push_back(
        {"qwen3vl_4b", "mage_flow", "MageFlowQwen3VLClipModel", vl_4b, normal_hidden(-1)});
    models.push_back({"qwen3vl_8b", "boogu", "BooguQwen3VLClipModel", vl_8b, normal_hidden(-1)});
    models.push_back({"qwen3vl_8b", "joyimage", "_JoyImageClipModel", vl_8b, hidden(-1)});
    models.push_back({"qwen3vl_8b", "ideogram4", "Qwen3VL8BModel", sizes("qwen3vl_8b_text"),
                      stacked({1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 36})});
    models.push_back(
        {"qwen3vl_32b", "minimax", "MiniMaxH3ClipModel", sizes("qwen3vl_32b"), unmasked()});
}

void add_llama_and_mistral(Models& models) {
    const DecoderOutput flux2 = stacked({10, 20, 30});
    models.push_back({"llama3_8b_hv", "", "LLAMAModel", sizes("llama3_8b"), hidden(-3)});
    models.push_back({"llama3_8b_hidream", "", "LLAMAModel", sizes("llama3_8b"), all_stacked()});
    models.push_back({"mistral3_24b", "flux2_pruned30", "Mistral3_24BModel",
                      sizes("mistral3_24b_pruned30"), flux2});
    models.push_back({"mistral3_24b", "flux2", "Mistral3_24BModel", sizes("mistral3_24b"), flux2});
    models.push_back(
        {"ministral3_3b", "ernie", "Ministral3_3BModel", sizes("ministral3_3b"), hidden(-2)});
}

void add_gemma(Models& models) {
    models.push_back({"gemma2_2b", "", "Gemma2_2BModel", sizes("gemma2_2b"), hidden(-2)});
    models.push_back({"gemma3_12b", "ltxav", "Gemma3_12B", sizes("gemma3_12b"), all_stacked()});
}

}  // namespace

std::vector<KnownLanguageModel> known_language_models() {
    Models models;
    add_qwen(models);
    add_qwen3vl(models);
    add_llama_and_mistral(models);
    add_gemma(models);
    return models;
}

}  // namespace plimsoll::memory
