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
    constexpr int kLatentsPerSecond = 40;
    const VaeCall call{.batch = q.batch,
                       .latents = q.frames * kLatentsPerSecond,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    if (!vae.knows(call)) return unknown(q);
    Walk walk = vae.simulate_decode(call);
    // The recorder of this network counted buffers among the parameters.
    for (const ModuleEntry& module : vae.modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
