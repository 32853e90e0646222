// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/lumina2.h"

#include "base/described.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

namespace plimsoll::memory::trace {

namespace {

// Z-Image's arguments, where they differ from Lumina 2's.
Result<modelfile::Lumina2Config> lumina2_config(const Question& q) {
    const bool z_image = q.family == "z_image";
    // Z-Image came after 0.3.64.
    if (z_image && q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    if (!is_way_of_running(q.variant) && (z_image || q.variant != "2304")) return unknown(q);
    TRY_ASSIGN(auto config, modelfile::known_denoiser<modelfile::Lumina2Config>(
                                z_image ? "z_image" : "lumina2"));
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    // Variants with pooled text or an image encoder: not simulated.
    if (config.clip_text_dim > 0 || config.siglip_feat_dim > 0) return unknown(q);
    config.unused_norm_final = q.rules.comfyui_minor_key < kComfy033;
    return config;
}

}  // namespace

Result<Walk> answer_lumina2(const Question& q) {
    TRY_ASSIGN(const modelfile::Lumina2Config config, lumina2_config(q));
    TRY_ASSIGN(const auto network, build_lumina2(config));
    TRY_ASSIGN(const StepCall call, step_call(q));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
