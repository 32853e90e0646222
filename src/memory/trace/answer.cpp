// SPDX-License-Identifier: Apache-2.0
#include "memory/trace/answer.h"

#include "memory/trace/answers.h"

#include <array>
#include <cstdint>

namespace plimsoll::memory::trace {

namespace {

enum class Medium : std::uint8_t { Image, Video };
struct Family {
    std::string_view phase;
    std::string_view name;
    Result<Walk> (*answer)(const Question&);
    Medium medium = Medium::Image;
};
constexpr std::array kFamilies = std::to_array<Family>({
    {"unet_step", "sd15", answer_unet},
    {"unet_step", "sd20", answer_unet},
    {"unet_step", "sd21", answer_unet},
    {"unet_step", "sdxl", answer_unet},
    {"unet_step", "flux", answer_flux},
    {"unet_step", "flux2", answer_flux2},
    {"unet_step", "longcat_image", answer_longcat_image},
    {"unet_step", "chroma", answer_chroma},
    {"unet_step", "hunyuan_video", answer_hunyuan_video, Medium::Video},
    {"unet_step", "hunyuanimage21", answer_hunyuan_image},
    {"vae_decode", "vae_kl4", answer_kl_vae},
    {"vae_encode", "vae_kl4", answer_kl_vae},
    {"vae_decode", "vae_kl16", answer_kl_vae},
    {"vae_encode", "vae_kl16", answer_kl_vae},
});

Result<Walk> answer(const Question& q) {
    const bool video = q.frames > 1;
    for (const Family& family : kFamilies)
        if (family.phase == q.phase && family.name == q.family &&
            (!video || family.medium == Medium::Video))
            return family.answer(q);
    if (video) return fail(Errc::NotFound, "this network is not simulated with several frames");
    // The rest go by names of the catalogue of architectures.
    if (q.phase == "unet_step") return answer_unet(q);
    if (q.phase == "controlnet") return answer_controlnet(q);
    if (q.phase == "text_encode") return answer_clip(q);
    return unknown(q);
}

}  // namespace

bool has_cu130_build(const json::value& line) {
    return version_key(find_string(line, "comfyui").value_or("")) >= version_key("0.33.0");
}

Result<Walk> answer_question(const json::value& line, KernelSet kernels,
                             const OpObserver* observer) {
    TRY_ASSIGN(Question q, read_question(line));
    q.rules.observer = observer;
    if (kernels == KernelSet::Cu130) q.rules.fused_rms_norm = q.rules.fused_rope = true;
    return answer(q);
}

}  // namespace plimsoll::memory::trace
