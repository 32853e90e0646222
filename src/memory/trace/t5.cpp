// SPDX-License-Identifier: Apache-2.0
//
// T5 and its relatives.
#include "memory/networks/text/t5.h"
#include "memory/trace/answers.h"
#include "memory/trace/text_question.h"

#include <array>

namespace plimsoll::memory::trace {

namespace {

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
        if ((!byt5 && !names_types(variant)) || !is_of_class(q, known.class_name)) break;
        // Later versions load scaled weights another way.
        if (q.types.scaled_fp8 && q.rules.comfyui_minor_key >= version_key("0.33.0")) break;
        config.scaled_fp8 = q.types.scaled_fp8;
        TRY_ASSIGN(const auto network, build_t5(config, known.class_name));
        return name_wrapper(simulate_text_encode(*network, text_call(q)), q, known.class_name);
    }
    return unknown(q);
}

}  // namespace plimsoll::memory::trace
