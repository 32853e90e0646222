// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/audio/oobleck.h"

#include "memory/networks/audio/music_dcae.h"

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

// `frames` are seconds.
Result<Walk> answer_music_dcae(const Question& q) {
    if (!is_way_of_running(q.variant) || q.types.storage != q.types.compute) return unknown(q);
    modelfile::MusicDcaeConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto vae, build_music_dcae(config));
    const SoundGrid grid = *vae->sound();
    const VaeCall call{.batch = q.batch,
                       .latents = q.frames * grid.samples_per_second / grid.samples_per_latent,
                       .compute = q.types.compute,
                       .storage = q.types.compute,
                       .rules = q.rules};
    if (call.latents < 1) return fail(Errc::InvalidInput, "the sound is shorter than one latent");
    Walk walk = vae->simulate_decode(call);
    // The recorder of this network counted buffers among the parameters.
    for (const ModuleEntry& module : vae->modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
