// SPDX-License-Identifier: Apache-2.0
//
// Text encoders other than CLIP.
#include "memory/networks/text/t5.h"
#include "memory/trace/answers.h"

#include <array>

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

// "fp16", "scaled_fp8", "fp16w_fp32c": how weights are stored and computed with, nothing else.
bool names_types(std::string_view variant) {
    constexpr std::string_view kComputed = "w_fp32c";
    if (variant.ends_with(kComputed)) variant.remove_suffix(kComputed.size());
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

}  // namespace plimsoll::memory::trace
