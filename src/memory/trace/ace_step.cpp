// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/ace_step.h"

#include "memory/networks/audio/ace_step15.h"

#include "base/described.h"
#include "memory/trace/answers.h"
#include "memory/trace/sound.h"

namespace plimsoll::memory::trace {

namespace {

// Other lengths of the lyrics than those recorded are not simulated.
bool other_lyrics(const Question& q) {
    return contains(q.note, " lyric tokens") && !contains(q.note, "512 lyric tokens");
}

}  // namespace

// `frames` are seconds. A latent is eight frames of a spectrogram, each of 512 samples.
Result<Walk> answer_ace_step(const Question& q) {
    constexpr std::int64_t kSamplesPerSecond = 44'100;
    constexpr std::int64_t kSamplesPerLatent = 512 * 8;
    if (!names_network(q.variant, "3.5B") || other_lyrics(q)) return unknown(q);
    modelfile::AceStepConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_ace_step(config));
    TRY_ASSIGN(const StepCall call,
               sound_call(q, static_cast<int>(q.frames * kSamplesPerSecond / kSamplesPerLatent)));
    return answer_step(q, *network, call);
}

// `frames` are seconds.
Result<Walk> answer_ace_step15(const Question& q) {
    constexpr int kLatentsPerSecond = 25;
    if (q.variant != "2B" || q.rules.comfyui_minor_key < kComfy033 || other_lyrics(q))
        return unknown(q);
    modelfile::AceStep15Config config;
    if (q.config != nullptr) {
        if (find(*q.config, "layer_types") != nullptr) return unknown(q);
        TRY_DO(read_described(*q.config, config));
    }
    TRY_ASSIGN(const auto network, build_ace_step15(config));
    TRY_ASSIGN(const StepCall call, sound_call(q, q.frames * kLatentsPerSecond));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
