// SPDX-License-Identifier: Apache-2.0
//
// Seconds of sound as latents along the time, and steps over them.
#pragma once
#include "memory/trace/question.h"

namespace plimsoll::memory::trace {

// ComfyUI's empty latents of Stable Audio are even in number; its default of 47.6 seconds, the
// whole window, was recorded as 47.
[[nodiscard]] inline int stable_audio_latents(int seconds) {
    constexpr std::int64_t kSamplesPerSecond = 44'100;
    constexpr std::int64_t kSamplesPerLatent = 2048;
    constexpr int kWindowSeconds = 47;
    constexpr int kWindowLatents = 1024;
    if (seconds == kWindowSeconds) return kWindowLatents;
    return static_cast<int>((seconds * kSamplesPerSecond / kSamplesPerLatent + 1) / 2 * 2);
}

// A step of the network alone. The model object's conditions are not simulated, nor weights that
// are stored in another type than they are computed in.
[[nodiscard]] inline Result<StepCall> sound_call(const Question& q, int latents) {
    if (q.call != "forward" || q.types.storage != q.types.compute) return unknown(q);
    if (latents < 1) return fail(Errc::InvalidInput, "the sound is shorter than one latent");
    StepCall call;
    call.batch = q.batch;
    call.latent_height = 1;
    call.latent_width = latents;
    call.tokens = q.tokens;
    call.storage = q.types.storage;
    call.compute = q.types.compute;
    call.rules = q.rules;
    return call;
}

}  // namespace plimsoll::memory::trace
