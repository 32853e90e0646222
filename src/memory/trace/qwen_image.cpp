// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/qwen_image.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// Which Qwen-Image a variant names, and how many reference images it was given.
struct QwenVariant {
    modelfile::QwenImageConfig config;
    int references = 0;
};

// "edit_2ref": the images' number, up to nine; 0 where the name is another.
int reference_count(std::string_view name, std::string_view prefix) {
    constexpr std::string_view kSuffix = "ref";
    if (!name.starts_with(prefix) || !name.ends_with(kSuffix) ||
        name.size() != prefix.size() + 1 + kSuffix.size())
        return 0;
    const char digit = name[prefix.size()];
    return digit >= '1' && digit <= '9' ? digit - '0' : 0;
}

Result<QwenVariant> qwen_variant(const Question& q) {
    QwenVariant variant;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    if (variant.config.use_additional_t_cond) return unknown(q);  // the layered model
    if (const int plain = reference_count(q.variant, "edit_"); plain > 0) {
        variant.references = plain;
    } else if (const int zero_time = reference_count(q.variant, "edit_2511_"); zero_time > 0) {
        // A timestep of their own is what references got after 0.3.64.
        if (q.rules.comfyui_minor_key < kComfy033) return unknown(q);
        variant.references = zero_time;
        variant.config.default_ref_method = "index_timestep_zero";
    } else if (!is_way_of_running(q.variant)) {
        return unknown(q);
    }
    return variant;
}

}  // namespace

Result<Walk> answer_qwen_image(const Question& q) {
    TRY_ASSIGN(const QwenVariant variant, qwen_variant(q));
    TRY_ASSIGN(const auto network, build_qwen_image(variant.config));
    TRY_ASSIGN(StepCall call, step_call(q));
    for (int i = 0; i < variant.references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
