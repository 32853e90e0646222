// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/seedvr2.h"
#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// As published.
Result<modelfile::Seedvr2Config> seedvr2_config(const Question& q) {
    modelfile::Seedvr2Config c;
    c.vid_out_norm = true;
    if (q.variant == "7B") {
        c = {.vid_dim = 3072,
             .heads = 24,
             .num_layers = 36,
             .mm_layers = 36,
             .mlp_type = "normal",
             .vid_out_norm = false};
    } else if (q.variant != "3B") {
        return unknown(q);
    }
    const int width = c.vid_dim;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, c));
    if (c.vid_dim != width) return unknown(q);  // the width says how positions are encoded
    return c;
}

}  // namespace

// One video and one conditioning branch, the network called by itself: what was recorded.
Result<Walk> answer_seedvr2(const Question& q) {
    constexpr int kFramesPerCell = 4;
    TRY_ASSIGN(const modelfile::Seedvr2Config config, seedvr2_config(q));
    const bool known =
        q.call == "forward" && q.batch == 1 && q.rules.comfyui_minor_key >= kComfy033;
    if (!known) return unknown(q);
    TRY_ASSIGN(const auto network, build_seedvr2(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_height = call.latent_height / 2 * 2;  // whole patches
    call.latent_width = call.latent_width / 2 * 2;
    if (call.latent_width < 2 || call.latent_height < 2)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    // Chosen: the walk's time grows with them, and no card holds as many.
    constexpr std::int64_t kCellsMax = 1 << 26;
    if (std::int64_t{call.latent_height} * call.latent_width * call.latent_frames > kCellsMax)
        return fail(Errc::InvalidInput, "more latent cells than a card can hold");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
