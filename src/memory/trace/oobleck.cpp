// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/oobleck.h"

#include "base/described.h"
#include "memory/trace/answers.h"
#include "memory/trace/sound.h"

#include <string_view>

namespace plimsoll::memory::trace {

namespace {

// `frames` are seconds.
struct KnownOobleck {
    std::string_view family;
    std::string_view variant;  // empty: a type
    std::int64_t samples_per_second = 0;
    modelfile::OobleckConfig config;
};

KnownOobleck known_oobleck(const Question& q) {
    if (q.family == "vae_stable_audio") return {q.family, q.variant, 44'100, {}};
    return {q.family, "oobleck_48k", 48'000, {.strides = {2, 4, 4, 6, 10}}};
}

}  // namespace

Result<Walk> answer_oobleck(const Question& q) {
    KnownOobleck known = known_oobleck(q);
    const bool known_variant = q.variant == known.variant &&
                               (known.variant == "oobleck_48k" || is_way_of_running(q.variant));
    if (!known_variant || q.types.storage != q.types.compute) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, known.config));
    TRY_ASSIGN(const auto vae, build_oobleck(known.config));
    const VaeCall call{
        .batch = q.batch,
        .latents = q.family == "vae_stable_audio"
                       ? stable_audio_latents(q.frames)
                       : static_cast<int>(q.frames * known.samples_per_second / vae->downscale()),
        .compute = q.types.compute,
        .storage = q.types.compute,
        .rules = q.rules};
    if (call.latents < 1) return fail(Errc::InvalidInput, "the sound is shorter than one latent");
    return q.phase == "vae_decode" ? vae->simulate_decode(call) : vae->simulate_encode(call);
}

}  // namespace plimsoll::memory::trace
