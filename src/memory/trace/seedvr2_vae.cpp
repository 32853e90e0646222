// SPDX-License-Identifier: Apache-2.0
#include "memory/trace/seedvr2_vae.h"

#include "memory/networks/vae/seedvr2_vae.h"
#include "memory/trace/answers.h"

#include <fmt/format.h>

#include <cstdint>

namespace plimsoll::memory::trace {

Result<Walk> answer_seedvr2_vae(const Question& q) {
    const VaeCall call{.batch = q.batch,
                       .frames = q.frames,
                       .height = q.height,
                       .width = q.width,
                       .compute = q.types.compute,
                       .storage = q.types.storage,
                       .rules = q.rules};
    static const Seedvr2VaeNetwork vae;
    if (q.variant != "full" || !vae.knows(call)) return unknown(q);
    const int cell = vae.grid().pixels_per_cell;
    if (q.width < cell || q.height < cell)
        return fail(Errc::InvalidInput, "width and height must be at least 8");
    // Chosen: half an hour of 1920 x 1080.
    constexpr std::int64_t kPixelsTogetherMax = std::int64_t{1} << 36;
    const std::int64_t pixels = std::int64_t{q.batch} * q.frames * q.height * q.width;
    if (pixels > kPixelsTogetherMax)
        return fail(Errc::LimitExceeded, fmt::format("{} pixels of all frames together, limit {}",
                                                     pixels, kPixelsTogetherMax));
    return q.phase == "vae_decode" ? vae.simulate_decode(call) : vae.simulate_encode(call);
}

}  // namespace plimsoll::memory::trace
