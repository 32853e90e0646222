// SPDX-License-Identifier: Apache-2.0
#include "memory/built_text_encoders.h"

#include "memory/networks/clip_text.h"
#include "memory/networks/ltx/ltx_text.h"
#include "memory/networks/text/gemma4.h"
#include "memory/networks/text/known_language_models.h"
#include "memory/networks/text/ming_text.h"
#include "memory/networks/text/qwen35.h"
#include "memory/networks/text/t5.h"
#include "memory/networks/text/t5gemma.h"

#include <fmt/format.h>

#include <array>
#include <string_view>
#include <utility>
#include <variant>

namespace plimsoll::memory {

namespace {

using modelfile::DecoderConfig;
using modelfile::DType;
using modelfile::T5Config;

ComputeType kept_type(DType file) {
    switch (file) {
        case DType::BFloat16:
            return ComputeType::BFloat16;
        case DType::Float8E4M3:
            return ComputeType::Float8E4M3;
        case DType::Float8E5M2:
            return ComputeType::Float8E5M2;
        case DType::Int8:
            return ComputeType::Int8;
        default:
            return ComputeType::Float16;
    }
}

struct T5Kind {
    std::string_view name;
    std::string_view attribute;  // of ComfyUI's text encoder that holds it
    std::string_view class_name;
    int d_model;
    bool bias_in_every_layer;
};
constexpr std::array kT5Kinds = std::to_array<T5Kind>({
    {"t5_xxl", "t5xxl", "T5XXLModel", 4096, false},
    {"umt5_xxl", "umt5xxl", "UMT5XXlModel", 4096, true},
    {"byt5_small", "byt5_small", "ByT5SmallModel", 1472, false},
    {"t5_base", "t5base", "T5BaseModel", 768, false},
    {"umt5_base", "umt5base", "UMT5BaseModel", 768, true},
});

Result<BuiltTextEncoder> build(const modelfile::ClipTextConfig& config) {
    BuiltTextEncoder built{
        .name = config.name, .prefix = config.name + ".", .clip = {}, .text = {}};
    TRY_ASSIGN(built.clip, build_clip(config));
    return built;
}

Result<BuiltTextEncoder> build(const T5Config& config) {
    for (const T5Kind& kind : kT5Kinds) {
        if (kind.d_model != config.d_model ||
            kind.bias_in_every_layer != config.bias_in_every_layer)
            continue;
        BuiltTextEncoder built{.name = std::string(kind.name),
                               .prefix = std::string(kind.attribute) + ".",
                               .clip = {},
                               .text = {}};
        TRY_ASSIGN(built.text, build_t5(config, kind.class_name));
        return built;
    }
    return fail(Errc::NotFound,
                fmt::format("a T5 of width {} is none that is known", config.d_model));
}

// The numbers that tell language models apart; the rest follows from the file.
bool same_model(const DecoderConfig& a, const DecoderConfig& b) {
    return a.hidden_size == b.hidden_size && a.intermediate_size == b.intermediate_size &&
           a.num_hidden_layers == b.num_hidden_layers &&
           a.num_attention_heads == b.num_attention_heads &&
           a.num_key_value_heads == b.num_key_value_heads && a.q_norm == b.q_norm &&
           a.vocab_size == b.vocab_size && a.vision == b.vision;
}

const std::vector<KnownLanguageModel>& known_models() {
    static const std::vector<KnownLanguageModel> known = known_language_models();
    return known;
}

// How KnownLanguageModel calls whom a loader's `type` serves.
std::string_view user_of(std::string_view purpose) {
    constexpr auto kUsers = std::to_array<std::pair<std::string_view, std::string_view>>({
        {"lumina2", "zimage"},
        {"z_image", "zimage"},
        {"flux2", "klein"},
        {"mage", "mage_flow"},
    });
    for (const auto& [type, user] : kUsers)
        if (type == purpose) return user;
    return purpose;
}

Result<BuiltTextEncoder> build(const DecoderConfig& config) {
    // One that keeps its last norm, or drops it, like the file goes first.
    for (const bool by_norm : {true, false})
        for (const KnownLanguageModel& model : known_models()) {
            if (!same_model(model.config, config)) continue;
            if (by_norm && model.config.final_norm != config.final_norm) continue;
            BuiltTextEncoder built{.name = std::string(model.family),
                                   .prefix = std::string(model.family) + ".",
                                   .clip = {},
                                   .text = {}};
            TRY_ASSIGN(built.text, build_decoder(config, model.output, model.class_name));
            return built;
        }
    return fail(Errc::NotFound,
                fmt::format("a language model of {} layers and width {} is none that is known",
                            config.num_hidden_layers, config.hidden_size));
}

Result<BuiltTextEncoder> build(const modelfile::LtxTextProjectionConfig& config) {
    BuiltTextEncoder built{.name = "ltx_text_projection",
                           .prefix = {},
                           .clip = {},
                           .text = {},
                           .follows_another = true,
                           .computes_bf16 = true};
    TRY_ASSIGN(built.text, build_ltx_text_projection(config));
    return built;
}

Result<BuiltTextEncoder> build(const modelfile::LtxTextConnectorConfig& config) {
    BuiltTextEncoder built{.name = "ltx_text_connector",
                           .prefix = {},
                           .clip = {},
                           .text = {},
                           .follows_another = true};
    TRY_ASSIGN(built.text, build_ltx_text_connector(config));
    return built;
}

Result<BuiltTextEncoder> build(const modelfile::T5GemmaConfig& config) {
    BuiltTextEncoder built{.name = "t5gemma", .prefix = "t5gemma.", .clip = {}, .text = {}};
    TRY_ASSIGN(built.text, build_t5gemma(config));
    return built;
}

Result<BuiltTextEncoder> build(const modelfile::Qwen35Config& config) {
    BuiltTextEncoder built{.name = "qwen35", .prefix = "qwen35.", .clip = {}, .text = {}};
    TRY_ASSIGN(built.text, build_qwen35(config));
    return built;
}

Result<BuiltTextEncoder> build(const modelfile::Gemma4Config& config) {
    BuiltTextEncoder built{.name = "gemma4", .prefix = "gemma4.", .clip = {}, .text = {}};
    TRY_ASSIGN(built.text, build_gemma4(config));
    return built;
}

Result<BuiltTextEncoder> build(const modelfile::MingTextConfig& config) {
    BuiltTextEncoder built{.name = "ming_text", .prefix = "ming_image.", .clip = {}, .text = {}};
    TRY_ASSIGN(built.text, build_ming_text(config));
    return built;
}

}  // namespace

const Network& BuiltTextEncoder::network() const {
    if (clip) return *clip;
    return *text;
}

Types types_of(const BuiltTextEncoder& encoder, const LaunchFlags& flags) {
    return encoder.clip ? clip_types(flags) : text_types(encoder.stored, flags);
}

Types types_on(const Device& device, const BuiltTextEncoder& encoder, const LaunchFlags& flags) {
    Types types = types_of(encoder, flags);
    if (encoder.computes_bf16 && computes_bf16(device, flags))
        types.compute = ComputeType::BFloat16;
    return types;
}

const DecoderOutput* output_for(const BuiltTextEncoder& encoder, std::string_view purpose) {
    // Llama serves two models and is known under both.
    constexpr std::string_view kLlama = "llama3_8b";
    const std::string_view user = user_of(purpose);
    for (const KnownLanguageModel& model : known_models()) {
        const bool llama = encoder.name.starts_with(kLlama) && model.family.starts_with(kLlama) &&
                           model.family.ends_with(purpose) && !purpose.empty();
        if (llama || (model.family == encoder.name && model.user == user && !user.empty()))
            return &model.output;
    }
    return nullptr;
}

Result<BuiltTextEncoder> build_text_encoder(
    const modelfile::Part<modelfile::TextEncoderConfig>& part) {
    modelfile::TextEncoderConfig config = part.config;
    const int millibits = part.weights.linear_millibits;
    std::visit(
        [&](auto& c) {
            if constexpr (requires { c.scaled_fp8; })
                c.scaled_fp8 = c.scaled_fp8 || part.weights.scaled_fp8;
            if constexpr (requires { c.linear_millibits; }) c.linear_millibits = millibits;
        },
        config);
    TRY_ASSIGN(BuiltTextEncoder built, std::visit([](const auto& c) { return build(c); }, config));
    if (built.clip) return built;
    // What is not packed is in 16 bit.
    built.stored = millibits > 0 ? ComputeType::BFloat16 : kept_type(part.weights.dtype);
    const bool fp8 =
        built.stored == ComputeType::Float8E4M3 || built.stored == ComputeType::Float8E5M2;
    if (part.weights.scaled_fp8 && !fp8) built.stored = ComputeType::Float8E4M3;
    return built;
}

}  // namespace plimsoll::memory
