// SPDX-License-Identifier: Apache-2.0
//
// Text encoders other than CLIP.
#include "base/described.h"
#include "memory/networks/text/decoder.h"
#include "memory/networks/text/t5.h"
#include "memory/trace/answers.h"

#include <algorithm>
#include <array>
#include <utility>

namespace plimsoll::memory::trace {

namespace {

// ComfyUI's wrappers compute in fp32 whatever the weights are stored in.
TextCall text_call(const Question& q) {
    return {.batch = q.batch,
            .tokens = q.tokens,
            .storage = q.types.storage,
            .compute = q.types.compute_named ? q.types.compute : ComputeType::Float32,
            .rules = q.rules};
}

// "fp16", "scaled_fp8", "bf16w", "fp16w_fp32c": how weights are stored and computed with, nothing
// else.
bool names_types(std::string_view variant) {
    for (const std::string_view suffix : {"w_fp32c", "w"})
        if (variant.ends_with(suffix)) variant.remove_suffix(suffix.size());
    return variant == "base" || variant == "scaled_fp8" || parse_compute_type(variant).has_value();
}

// "hunyuan_bf16w": the model that the encoder serves, and how its weights are stored.
bool names_user(std::string_view variant, std::string_view user) {
    if (!variant.starts_with(user) || !variant.ends_with('w')) return false;
    variant.remove_prefix(user.size());
    variant.remove_suffix(1);
    return variant.starts_with('_') && parse_compute_type(variant.substr(1)).has_value();
}

Walk name_wrapper(Walk walk, const Question& q, std::string_view class_name) {
    if (q.recorder != 'a') return walk;  // it names the wrapper itself by its class
    for (LiveTensor& tensor : walk.top_live)
        if (tensor.module.empty()) tensor.module = class_name;
    return walk;
}

struct KnownT5 {
    std::string_view family;
    std::string_view class_name;
    modelfile::T5Config config;
};
constexpr std::array kKnownT5 = std::to_array<KnownT5>({
    {"t5_xxl", "T5XXLModel", {}},
    {"umt5_xxl",
     "UMT5XXlModel",
     {.vocab_size = 256384, .bias_in_every_layer = true, .masked = true, .zero_out_masked = true}},
    {"byt5_small",
     "ByT5SmallModel",
     {.vocab_size = 1510,
      .d_model = 1472,
      .d_ff = 3584,
      .num_layers = 12,
      .num_heads = 6,
      .masked = true,
      .zero_out_masked = true}},
});

}  // namespace

Result<Walk> answer_t5(const Question& q) {
    for (const KnownT5& known : kKnownT5) {
        if (known.family != q.family) continue;
        modelfile::T5Config config = known.config;
        std::string_view variant = q.variant;
        constexpr std::string_view kMasked = "_masked";
        if (variant.ends_with(kMasked)) {
            config.masked = true;
            variant.remove_suffix(kMasked.size());
        }
        const bool byt5 = q.family == "byt5_small" && names_user(variant, "hunyuan");
        if (!byt5 && !names_types(variant)) break;
        config.scaled_fp8 = q.types.scaled_fp8;
        TRY_ASSIGN(const auto network, build_t5(config, known.class_name));
        return name_wrapper(simulate_text_encode(*network, text_call(q)), q, known.class_name);
    }
    return unknown(q);
}

namespace {

using Kind = DecoderOutput::Kind;

// An encoder as one model uses it. `user`: how variants begin that name that model; empty where
// they name only types.
struct KnownLanguageModel {
    std::string_view family;
    std::string_view user;
    std::string_view class_name;
    modelfile::DecoderConfig config;
    DecoderOutput output;
};

modelfile::DecoderConfig qwen3(int hidden, int intermediate, int depth, int heads) {
    return {.vocab_size = 151936,
            .hidden_size = hidden,
            .intermediate_size = intermediate,
            .num_hidden_layers = depth,
            .num_attention_heads = heads,
            .q_norm = true};
}

const modelfile::DecoderConfig kQwen25_7B{.vocab_size = 152064,
                                          .hidden_size = 3584,
                                          .intermediate_size = 18944,
                                          .num_hidden_layers = 28,
                                          .num_attention_heads = 28,
                                          .num_key_value_heads = 4,
                                          .qkv_bias = true,
                                          .vision = "qwen25vl"};
const modelfile::DecoderConfig kQwen25_3B{.vocab_size = 151936,
                                          .hidden_size = 2048,
                                          .intermediate_size = 11008,
                                          .num_hidden_layers = 36,
                                          .num_attention_heads = 16,
                                          .num_key_value_heads = 2,
                                          .qkv_bias = true};
const modelfile::DecoderConfig kMistral24B{
    .vocab_size = 131072, .hidden_size = 5120, .intermediate_size = 32768, .num_hidden_layers = 40};
const modelfile::DecoderConfig kMinistral3B{
    .vocab_size = 131072, .hidden_size = 3072, .intermediate_size = 9216, .num_hidden_layers = 26};
const modelfile::DecoderConfig kGemma2_2B{.vocab_size = 256000,
                                          .hidden_size = 2304,
                                          .intermediate_size = 9216,
                                          .num_hidden_layers = 26,
                                          .num_attention_heads = 8,
                                          .num_key_value_heads = 4,
                                          .head_dim = 256,
                                          .transformer_type = "gemma2"};
const modelfile::DecoderConfig kGemma3_12B{.vocab_size = 262208,
                                           .hidden_size = 3840,
                                           .intermediate_size = 15360,
                                           .num_hidden_layers = 48,
                                           .num_attention_heads = 16,
                                           .num_key_value_heads = 8,
                                           .head_dim = 256,
                                           .q_norm = true,
                                           .transformer_type = "gemma3",
                                           .vision = "siglip"};

modelfile::DecoderConfig with(modelfile::DecoderConfig config, auto change) {
    change(config);
    return config;
}

std::vector<KnownLanguageModel> known_language_models() {
    using modelfile::DecoderConfig;
    const DecoderConfig llama;  // 3 8B, with the padding token of HunyuanVideo
    const DecoderConfig qwen3_06b = qwen3(1024, 3072, 28, 16);
    const DecoderConfig qwen3_2b = qwen3(2048, 6144, 28, 16);
    const DecoderConfig qwen3_4b = qwen3(2560, 9728, 36, 32);
    const DecoderConfig qwen3_8b = qwen3(4096, 12288, 36, 32);
    const auto vocabulary = [](int size) {
        return [size](DecoderConfig& c) { c.vocab_size = size; };
    };
    const auto with_head = [](DecoderConfig& c) { c.lm_head = true; };
    const auto headless = [](DecoderConfig& c) { c.final_norm = false; };
    const DecoderConfig vl_4b = with(qwen3_4b, [](DecoderConfig& c) { c.vision = "qwen3vl_l"; });
    const DecoderConfig vl_8b = with(qwen3_8b, [](DecoderConfig& c) {
        c.lm_head = true;
        c.vision = "qwen3vl_so";
    });
    const DecoderConfig vl_32b = with(qwen3(5120, 25600, 50, 64), [](DecoderConfig& c) {
        c.final_norm = false;
        c.vision = "qwen3vl_so";
    });
    const DecoderConfig pruned = with(kMistral24B, [](DecoderConfig& c) {
        c.num_hidden_layers = 30;
        c.final_norm = false;
    });
    const DecoderOutput last;
    const auto hidden = [](int layer) {
        return DecoderOutput{.kind = Kind::Hidden, .hidden_layer = layer};
    };
    const DecoderOutput normal_hidden{
        .kind = Kind::Hidden, .hidden_layer = -1, .normalize_hidden = true};
    const auto layers = [](std::vector<int> list) {
        return DecoderOutput{.kind = Kind::Layers, .layers = std::move(list)};
    };
    const DecoderOutput all{.kind = Kind::All};
    const DecoderOutput klein = layers({9, 18, 27});
    return {
        {"qwen25_7b", "", "Qwen25_7BVLIModel", kQwen25_7B, last},
        {"qwen25_3b", "omnigen2", "Qwen25_3BModel", kQwen25_3B, last},
        {"qwen3_06b", "ace15", "Qwen3_06BModel", with(qwen3_06b, vocabulary(151669)), last},
        {"qwen3_06b", "anima", "Qwen3_06BModel", qwen3_06b, last},
        {"qwen3_2b_lm", "ace15", "Qwen3_2B_ACE15", with(qwen3_2b, vocabulary(217204)), last},
        {"qwen3_4b", "klein", "Qwen3_4BModel", qwen3_4b, klein},
        {"qwen3_4b", "zimage", "Qwen3_4BModel", qwen3_4b, hidden(-2)},
        {"qwen3_8b", "klein", "Qwen3_8BModel", with(qwen3_8b, with_head), klein},
        {"qwen3vl_4b", "krea2", "Krea2Qwen3VLClipModel", vl_4b,
         layers({2, 5, 8, 11, 14, 17, 20, 23, 26, 29, 32, 35})},
        {"qwen3vl_4b", "mage_flow", "MageFlowQwen3VLClipModel", vl_4b, normal_hidden},
        {"qwen3vl_8b", "boogu", "BooguQwen3VLClipModel", vl_8b, normal_hidden},
        {"qwen3vl_8b", "joyimage", "_JoyImageClipModel", vl_8b, hidden(-1)},
        {"qwen3vl_8b", "ideogram4", "Qwen3VL8BModel", with(qwen3_8b, headless),
         layers({1, 4, 7, 10, 13, 16, 19, 22, 25, 28, 31, 34, 36})},
        {"qwen3vl_32b", "minimax", "MiniMaxH3ClipModel", vl_32b, {.masked = false}},
        {"ovis25_2b", "", "Ovis25_2BModel", qwen3_2b, {.zero_out_masked = true}},
        {"llama3_8b_hv", "", "LLAMAModel", llama, hidden(-3)},
        {"llama3_8b_hidream", "", "LLAMAModel", llama, all},
        {"mistral3_24b", "flux2_pruned30", "Mistral3_24BModel", pruned, layers({10, 20, 30})},
        {"mistral3_24b", "flux2", "Mistral3_24BModel", kMistral24B, layers({10, 20, 30})},
        {"ministral3_3b", "ernie", "Ministral3_3BModel", kMinistral3B, hidden(-2)},
        {"gemma2_2b", "", "Gemma2_2BModel", kGemma2_2B, hidden(-2)},
        {"gemma3_12b", "ltxav", "Gemma3_12BModel", kGemma3_12B, all},
    };
}

// What a recorded line says of its network over what the variant's name says.
Result<void> read_config(const json::value& from, KnownLanguageModel& model) {
    for (const std::string_view key : {"transformer_config", "config"})
        if (const json::value* sizes = find(from, key); sizes != nullptr && sizes->is_object())
            TRY_DO(read_described(*sizes, model.config));
    DecoderOutput& output = model.output;
    const json::value* layer = find(from, "layer");
    if (layer == nullptr || layer->is_null()) return {};
    if (layer->is_array()) {
        output.kind = Kind::Layers;
        return detail::read_list(*layer, "layer", output.layers);
    }
    const std::string_view name = find_string(from, "layer").value_or("");
    if (name == "last")
        output.kind = Kind::Last;
    else if (name == "hidden")
        output.kind = Kind::Hidden;
    else if (name == "all")
        output.kind = Kind::All;
    else
        return fail(Errc::InvalidInput, "config.layer is none that is known");
    if (const auto index = find_int(from, "layer_idx"))
        output.hidden_layer = static_cast<int>(std::clamp<std::int64_t>(*index, -4096, 4096));
    return {};
}

}  // namespace

Result<Walk> answer_language_model(const Question& q) {
    static const std::vector<KnownLanguageModel> known = known_language_models();
    std::string_view variant = q.variant;
    constexpr std::string_view kForwardOnly = "_forward_only";  // not word after word
    if (variant.ends_with(kForwardOnly)) variant.remove_suffix(kForwardOnly.size());
    for (KnownLanguageModel model : known) {
        if (model.family != q.family) continue;
        if (model.user.empty() ? !names_types(variant) : !names_user(variant, model.user)) continue;
        if (q.config != nullptr) TRY_DO(read_config(*q.config, model));
        TRY_ASSIGN(const auto network, build_decoder(model.config, model.output, model.class_name));
        return name_wrapper(simulate_text_encode(*network, text_call(q)), q, model.class_name);
    }
    return unknown(q);
}

}  // namespace plimsoll::memory::trace
