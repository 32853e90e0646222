// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/ltx/ltx_audio_vae.h"

#include "base/described.h"
#include "memory/trace/answers.h"

#include <initializer_list>
#include <string_view>

namespace plimsoll::memory::trace {

namespace {

using modelfile::LtxAudioVaeConfig;

constexpr std::int64_t kFramesPerLatent = 4;  // of the spectrogram
constexpr int kSecondsMax = 3600;             // chosen: an hour

const json::value* descend(const json::value& from, std::initializer_list<std::string_view> keys) {
    const json::value* at = &from;
    for (const std::string_view key : keys) {
        if (at == nullptr || !at->is_object()) return nullptr;
        at = find(*at, key);
    }
    return at != nullptr && at->is_object() ? at : nullptr;
}

std::int64_t number(const json::value* object, std::string_view key, std::int64_t fallback) {
    const auto value = object != nullptr ? find_int(*object, key) : std::optional<std::int64_t>();
    constexpr std::int64_t kMost = 1 << 20;
    return value && *value > 0 && *value <= kMost ? *value : fallback;
}

// Latents of a second of sound.
std::int64_t latents_per_second(const Question& q) {
    constexpr std::int64_t kRate = 16000;
    constexpr std::int64_t kHop = 160;
    const json::value* model = nullptr;
    const json::value* stft = nullptr;
    if (q.config != nullptr) {
        model = descend(*q.config, {"audio_vae", "model", "params"});
        stft = descend(*q.config, {"audio_vae", "preprocessing", "stft"});
    }
    return number(model, "sampling_rate", kRate) / number(stft, "hop_length", kHop) /
           kFramesPerLatent;
}

Result<LtxAudioVaeConfig> read_config(const Question& q) {
    LtxAudioVaeConfig config;
    if (q.config != nullptr) {
        const json::value* const coder =
            descend(*q.config, {"audio_vae", "model", "params", "ddconfig"});
        const json::value* const vocoder = descend(*q.config, {"vocoder"});
        if (coder == nullptr || vocoder == nullptr) return unknown(q);
        if (find(*vocoder, "bwe") != nullptr) return unknown(q);  // a second vocoder behind it
        TRY_DO(read_described(*coder, config.coder));
        TRY_DO(read_described(*vocoder, config.vocoder));
        const bool ends = find(*vocoder, "use_bias_at_final") != nullptr ||
                          find(*vocoder, "use_tanh_at_final") != nullptr ||
                          find(*vocoder, "apply_final_activation") != nullptr;
        if (ends) return unknown(q);
    }
    const auto& c = config.coder;
    const bool walked = c.attn_resolutions.empty() && !c.mid_block_add_attention &&
                        c.norm_type == "pixel" && c.causality_axis == "height" &&
                        config.vocoder.stereo && config.vocoder.resblock == "1";
    if (!walked) return unknown(q);
    return config;
}

}  // namespace

// `frames` are seconds.
Result<Walk> answer_ltx_audio_vae(const Question& q) {
    if (q.variant != "ltx2" || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    if (q.frames > kSecondsMax)
        return fail(Errc::InvalidInput, "sound must be at most an hour long");
    TRY_ASSIGN(const LtxAudioVaeConfig config, read_config(q));
    TRY_ASSIGN(const auto vae, build_ltx_audio_vae(config));
    const std::int64_t latents = latents_per_second(q) * q.frames;
    if (latents < 1) return fail(Errc::InvalidInput, "the sound has no latent");
    Walk walk = simulate_ltx_audio_vae_decode(*vae, {.batch = q.batch,
                                                     .latents = latents,
                                                     .compute = q.types.compute,
                                                     .storage = q.types.storage,
                                                     .rules = q.rules});
    if (q.recorder == 'a') return walk;
    for (const ModuleEntry& module : vae->modules()) walk.params += module.buffer_elements;
    return walk;
}

}  // namespace plimsoll::memory::trace
