// SPDX-License-Identifier: Apache-2.0
#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// Which Flux a variant names, and how many reference images it was given.
struct FluxVariant {
    modelfile::FluxConfig config;
    int references = 0;
};
Result<FluxVariant> flux_variant(const Question& q) {
    FluxVariant variant;
    const std::string_view name = q.variant;
    if (name == "schnell") {
        variant.config.guidance_embed = false;
    } else if (name == "fill_inpaint") {
        variant.config.in_channels =
            96;  // the latent, the masked latent and a mask of 8 x 8 pixels
    } else if (name.starts_with("kontext_") && name.ends_with("ref") && name.size() == 12) {
        variant.references = name[8] - '0';
    } else if (name != "dev" && name != "dev_fp16" && name != "sampling_function_cfg1" &&
               !is_way_of_running(name) && q.config == nullptr) {
        return unknown(q);
    }
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    return variant;
}

}  // namespace

Result<Walk> answer_flux(const Question& q) {
    TRY_ASSIGN(const FluxVariant variant, flux_variant(q));
    TRY_ASSIGN(const auto flux, build_flux(variant.config));
    TRY_ASSIGN(StepCall call, step_call(q));
    if (contains(q.variant, "cfg1")) call.conds = 1;
    for (int i = 0; i < variant.references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer_step(q, *flux, call);
}

}  // namespace plimsoll::memory::trace
