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
    if (q.variant != "full" || !Seedvr2VaeNetwork::knows(call)) return unknown(q);
    constexpr int kPixelsPerCell = 8;
    if (q.width < kPixelsPerCell || q.height < kPixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 8");
    // Chosen: half an hour of 1920 x 1080. A walk of each slice takes its time.
    constexpr std::int64_t kPixelsTogetherMax = std::int64_t{1} << 36;
    constexpr int kFramesMax = 1 << 12;
    const std::int64_t pixels = std::int64_t{q.batch} * q.frames * q.height * q.width;
    if (pixels > kPixelsTogetherMax || q.frames > kFramesMax)
        return fail(Errc::LimitExceeded,
                    fmt::format("{} frames of {} pixels together, limits {} and {}", q.frames,
                                pixels, kFramesMax, kPixelsTogetherMax));
    static const Seedvr2VaeNetwork vae;
    return q.phase == "vae_decode" ? vae.simulate_decode(call) : vae.simulate_encode(call);
}

}  // namespace plimsoll::memory::trace
