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

Result<QwenVariant> qwen_variant(const Question& q) {
    QwenVariant variant;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    if (variant.config.use_additional_t_cond) return unknown(q);  // the layered model
    std::string_view name = q.variant;
    variant.references = take_references(name);
    if (variant.references > 0 && name == "edit_2511") {
        // A timestep of their own is what references got after 0.3.64.
        if (q.rules.comfyui_minor_key < kComfy033) return unknown(q);
        variant.config.default_ref_method = "index_timestep_zero";
    } else if (variant.references > 0 ? name != "edit" : !is_way_of_running(name)) {
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
