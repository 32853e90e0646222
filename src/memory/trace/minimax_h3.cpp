// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/minimax_h3.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// Latents hold one frame, then four times four, and again.
int latent_frames(int frames) {
    constexpr int kCycleFrames = 17;
    constexpr int kCycleLatents = 5;
    constexpr int kFramesPerLatent = 4;
    const int rest = frames % kCycleFrames;
    const int of_rest = rest == 0 ? 0 : 1 + (rest - 1 + kFramesPerLatent - 1) / kFramesPerLatent;
    return frames / kCycleFrames * kCycleLatents + of_rest;
}

// Sound of 40 latents a second beside 24 frames a second.
int audio_latents(int frames) {
    constexpr int kLatentsPerSecond = 40;
    constexpr int kFramesPerSecond = 24;
    return frames * kLatentsPerSecond / kFramesPerSecond;
}

}  // namespace

Result<Walk> answer_minimax_h3(const Question& q) {
    constexpr int kCellPixels = 16;  // of its VAE's latents along a side
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    // One video at a time; what is stored in fp32 beside the rest is only known to fit as it is.
    if (q.batch != 1 || q.types.storage != q.types.compute || q.call != "forward")
        return unknown(q);
    modelfile::MiniMaxH3Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    if (config.gate_compress) return unknown(q);
    TRY_ASSIGN(const auto network, build_minimax_h3(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kCellPixels;
    call.latent_height = q.height / kCellPixels;
    call.latent_frames = latent_frames(q.frames);
    call.audio_latents = q.audio_latents > 0 ? q.audio_latents : audio_latents(q.frames);
    if (call.latent_width < 1 || call.latent_height < 1 || call.audio_latents < 1)
        return fail(Errc::InvalidInput, "width and height must be at least 16, frames at least 1");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
