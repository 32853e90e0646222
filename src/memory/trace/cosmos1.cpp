// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/cosmos/cosmos1.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

// The network alone, of 0.3.64, on whole patches within its learned positions: what was recorded.
Result<Walk> answer_cosmos1(const Question& q) {
    constexpr int kFramesPerCell = 8;  // the first frame has a cell of its own
    modelfile::Cosmos1Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    if (!names_network(q.variant, "7B") || q.call != "forward" ||
        q.types.storage != q.types.compute || q.rules.comfyui_minor_key >= kComfy033 ||
        (q.frames - 1) % kFramesPerCell != 0)
        return unknown(q);
    TRY_ASSIGN(const auto network, build_cosmos1(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    const bool placed =
        call.latent_height % config.patch_spatial == 0 &&
        call.latent_width % config.patch_spatial == 0 && call.latent_height <= config.max_img_h &&
        call.latent_width <= config.max_img_w && call.latent_frames <= config.max_frames;
    if (!placed) return unknown(q);
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
