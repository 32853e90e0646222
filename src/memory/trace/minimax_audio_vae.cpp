// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/minimax_audio_vae.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

// `frames` are seconds.
Result<Walk> answer_minimax_audio_vae(const Question& q) {
    if (!is_way_of_running(q.variant) || contains(q.variant, "tile") ||
        q.rules.comfyui_minor_key < kComfy033 || q.types.storage != q.types.compute)
        return unknown(q);
    static const MiniMaxAudioVaeNetwork vae;
    return simulate_minimax_audio_decode(vae, {.batch = q.batch,
                                               .seconds = q.frames,
                                               .compute = q.types.compute,
                                               .storage = q.types.storage,
                                               .rules = q.rules});
}

}  // namespace plimsoll::memory::trace
