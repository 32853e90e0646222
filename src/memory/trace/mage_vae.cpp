// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/mage_vae.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_mage_vae(const Question& q) {
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    if (contains(q.variant, "tile")) return unknown(q);
    if (q.width < kMageVaePixels || q.height < kMageVaePixels)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    static const MageVaeNetwork vae;
    const VaeCall call{.batch = q.batch,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    return q.phase == "vae_decode" ? vae.simulate_decode(call) : vae.simulate_encode(call);
}

}  // namespace plimsoll::memory::trace
