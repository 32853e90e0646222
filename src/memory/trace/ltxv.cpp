// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltxv.h"

#include "base/described.h"
#include "memory/networks/limits.h"
#include "memory/trace/answers.h"

#include <string_view>

namespace plimsoll::memory::trace {

namespace {

constexpr int kPixelsPerCell = 32;
constexpr int kFramesPerCell = 8;

struct LtxvVariant {
    modelfile::LtxvConfig config;
    bool timestep_per_token = false;
};

Result<LtxvVariant> ltxv_variant(const Question& q) {
    LtxvVariant variant;
    std::string_view name = q.variant;
    constexpr std::string_view kFromImage = "_i2v";
    if (name.ends_with(kFromImage)) {
        variant.timestep_per_token = true;
        name.remove_suffix(kFromImage.size());
    }
    if (names_network(name, "13B")) {
        variant.config.attention_head_dim = 128;
        variant.config.cross_attention_dim = 4096;
        variant.config.num_layers = 48;
    } else if (!names_network(name, "2B")) {
        return unknown(q);
    }
    // The model object would make the timesteps of the tokens from a mask.
    if (variant.timestep_per_token && q.call != "forward") return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    const modelfile::LtxvConfig& c = variant.config;
    const bool walked = !c.cross_attention_adaln && !c.apply_gated_attention && c.ff_bias &&
                        !c.caption_proj_before_connector && !c.use_keyframes_abs_pos_embedding &&
                        c.rope_type == "interleaved" && c.frequencies_precision == "float32";
    if (!walked) return unknown(q);
    return variant;
}

}  // namespace

Result<Walk> answer_ltxv(const Question& q) {
    TRY_ASSIGN(const LtxvVariant variant, ltxv_variant(q));
    TRY_ASSIGN(const auto network, build_ltxv(variant.config));
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 32");
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kPixelsPerCell;
    call.latent_height = q.height / kPixelsPerCell;
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    call.timestep_per_token = variant.timestep_per_token;
    if (!fits_walk({call.batch, call.latent_frames, call.latent_height, call.latent_width,
                    variant.config.num_attention_heads, variant.config.attention_head_dim}))
        return fail(Errc::LimitExceeded, "the latents are too large to be walked");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
