// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/stable_audio.h"

#include "memory/networks/audio/minimax_music3.h"

#include "base/described.h"
#include "memory/trace/answers.h"
#include "memory/trace/sound.h"

namespace plimsoll::memory::trace {

// `frames` are seconds.
Result<Walk> answer_stable_audio(const Question& q) {
    if (!names_network(q.variant, "open_1.0")) return unknown(q);
    modelfile::StableAudioConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_stable_audio(config));
    TRY_ASSIGN(const StepCall call, sound_call(q, stable_audio_latents(q.frames)));
    return answer_step(q, *network, call);
}

// Latents are said; as many frames of the language model were recorded.
Result<Walk> answer_minimax_music3(const Question& q) {
    if (q.variant != "2.5B" || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::MiniMaxMusic3Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_minimax_music3(config));
    TRY_ASSIGN(const StepCall call, sound_call(q, q.tokens));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
