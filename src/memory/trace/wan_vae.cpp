// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/wan/wan_vae.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_wan_vae(const Question& q) {
    if (q.variant != "bf16" && q.variant != "image_T1" && !q.variant.starts_with("tile_"))
        return unknown(q);
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto config, modelfile::known_vae_as<modelfile::WanVaeConfig>(
                                      q.family == "vae_wan22" ? "wan22" : "wan21"));
    TRY_ASSIGN(const auto vae, build_wan_vae(config));
    if (q.width < vae->downscale() || q.height < vae->downscale())
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    const VaeCall call{.batch = q.batch,
                       .frames = q.frames,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    return q.phase == "vae_decode" ? vae->simulate_decode(call) : vae->simulate_encode(call);
}

}  // namespace plimsoll::memory::trace
