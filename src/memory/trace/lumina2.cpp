// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/lumina2.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// Z-Image's arguments, where they differ from Lumina 2's.
modelfile::Lumina2Config z_image_config() {
    return {.dim = 3840,
            .n_layers = 30,
            .n_heads = 30,
            .n_kv_heads = 30,
            .ffn_dim_multiplier = 8.0 / 3.0,
            .cap_feat_dim = 2560,
            .axes_dims = {32, 48, 48},
            .z_image_modulation = true,
            .pad_tokens_multiple = 32};
}

Result<modelfile::Lumina2Config> lumina2_config(const Question& q) {
    const bool z_image = q.family == "z_image";
    // Z-Image came after 0.3.64.
    if (z_image && q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    if (!is_way_of_running(q.variant) && (z_image || q.variant != "2304")) return unknown(q);
    modelfile::Lumina2Config config = z_image ? z_image_config() : modelfile::Lumina2Config{};
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
