// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/cosmos/cosmos_vae.h"

#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

// Whole latents only, as ComfyUI cuts them; recorded of 0.3.64 alone.
Result<Walk> answer_cosmos_vae(const Question& q) {
    constexpr int kFactor = CosmosVaeNetwork::kDownscale;
    const bool whole =
        (q.frames - 1) % kFactor == 0 && q.width % kFactor == 0 && q.height % kFactor == 0;
    const bool known = q.variant == "bf16" || q.variant == "fp16" || q.variant == "fp32";
    if (!known || !whole || q.config != nullptr || q.types.storage != q.types.compute ||
        q.rules.comfyui_minor_key >= kComfy033)
        return unknown(q);
    TRY_DO(check_size(q));
    const CosmosVaeNetwork vae;
    const VaeCall call{.batch = q.batch,
                       .frames = q.frames,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    Walk walk = q.phase == "vae_decode" ? vae.simulate_decode(call) : vae.simulate_encode(call);
    if (q.recorder != 'a')  // the others counted buffers among the parameters
        for (const ModuleEntry& module : vae.modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
