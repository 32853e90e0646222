// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltxav.h"

#include "base/described.h"
#include "memory/networks/limits.h"
#include "memory/trace/answers.h"

#include <string_view>

namespace plimsoll::memory::trace {

namespace {

using modelfile::LtxavConfig;

constexpr int kPixelsPerCell = 32;
constexpr int kFramesPerCell = 8;

LtxavConfig published(bool newer) {
    LtxavConfig c;
    c.causal_temporal_positioning = c.use_middle_indices_grid = true;
    c.rope_type = "split";
    c.frequencies_precision = "float64";
    if (!newer) return c;
    c.apply_gated_attention = c.cross_attention_adaln = c.caption_proj_before_connector = true;
    c.connector_apply_gated_attention = true;
    c.caption_projection_first_linear = false;
    c.connector_num_attention_heads = c.audio_connector_num_attention_heads = 32;
    c.audio_connector_attention_head_dim = 64;
    c.connector_num_layers = 8;
    return c;
}

Result<LtxavConfig> read_config(const Question& q, std::string_view name) {
    const bool newer = names_network(name, "ltx2.3_22B");
    if (!newer && !names_network(name, "ltx2_19B")) return unknown(q);
    if (q.rules.comfyui_minor_key < kComfy033) return unknown(q);  // not recorded before
    LtxavConfig c = q.config == nullptr ? published(newer) : LtxavConfig{};
    if (q.config != nullptr) TRY_DO(read_described(*q.config, c));
    // A linear layer before the connector, and layers without biases, were not recorded.
    const bool walked = c.ff_bias && c.audio_ff_bias && !c.use_keyframes_abs_pos_embedding &&
                        c.use_prompt_adaln_single &&
                        !(c.caption_proj_before_connector && c.caption_projection_first_linear);
    if (!walked) return unknown(q);
    return c;
}

bool take_ending(std::string_view& name, std::string_view ending) {
    if (!name.ends_with(ending)) return false;
    name.remove_suffix(ending.size());
    return true;
}

}  // namespace

Result<Walk> answer_ltxav(const Question& q) {
    std::string_view name = q.variant;
    const bool from_image = take_ending(name, "_i2v");
    TRY_ASSIGN(const LtxavConfig config, read_config(q, name));
    // The model object joins and parts video and sound.
    if (q.call != "forward" || q.audio_latents == 0) return unknown(q);
    TRY_ASSIGN(const auto network, build_ltxav(config));
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 32");
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kPixelsPerCell;
    call.latent_height = q.height / kPixelsPerCell;
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    call.audio_latents = q.audio_latents;
    call.timestep_per_token = from_image;
    if (!fits_walk({call.batch, call.latent_frames, call.latent_height, call.latent_width,
                    config.num_attention_heads, config.attention_head_dim}))
        return fail(Errc::LimitExceeded, "the latents are too large to be walked");
    return answer_step(q, *network, call);
}

Result<Walk> answer_ltxav_connector(const Question& q) {
    std::string_view name = q.variant;
    if (!take_ending(name, "_connector") || q.call != "module") return unknown(q);
    TRY_ASSIGN(const LtxavConfig config, read_config(q, name));
    TRY_ASSIGN(const auto network, build_ltxav(config));
    return simulate_ltx_connector(*network, {.batch = q.batch,
                                             .tokens = q.tokens,
                                             .compute = q.types.compute,
                                             .storage = q.types.storage,
                                             .rules = q.rules});
}

}  // namespace plimsoll::memory::trace
