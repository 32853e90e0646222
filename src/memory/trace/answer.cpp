// SPDX-License-Identifier: Apache-2.0
#include "memory/trace/answer.h"

#include "memory/trace/answers.h"
#include "memory/trace/seedvr2_vae.h"

#include <array>
#include <cstdint>

namespace plimsoll::memory::trace {

namespace {

enum class Medium : std::uint8_t { Image, Video };  // Video: sound too, `frames` being seconds
struct Family {
    std::string_view phase;
    std::string_view name;
    Result<Walk> (*answer)(const Question&);
    Medium medium = Medium::Image;  // only a video network answers several frames
};
constexpr std::array kFamilies = std::to_array<Family>({
    {"unet_step", "sd15", answer_unet},
    {"unet_step", "sd20", answer_unet},
    {"unet_step", "sd21", answer_unet},
    {"unet_step", "sdxl", answer_unet},
    {"unet_step", "flux", answer_flux},
    {"unet_step", "qwen_image", answer_qwen_image},
    {"unet_step", "omnigen2", answer_omnigen2},
    {"unet_step", "lumina2", answer_lumina2},
    {"unet_step", "z_image", answer_lumina2},
    {"text_encode", "t5_xxl", answer_t5},
    {"text_encode", "umt5_xxl", answer_t5},
    {"text_encode", "byt5_small", answer_t5},
    {"text_encode", "qwen25_7b", answer_language_model},
    {"text_encode", "qwen25_3b", answer_language_model},
    {"text_encode", "qwen3_06b", answer_language_model},
    {"text_encode", "qwen3_2b_lm", answer_language_model},
    {"text_encode", "qwen3_4b", answer_language_model},
    {"text_encode", "qwen3_8b", answer_language_model},
    {"text_encode", "qwen3vl_4b", answer_language_model},
    {"text_encode", "qwen3vl_8b", answer_language_model},
    {"text_encode", "qwen3vl_32b", answer_language_model},
    {"text_encode", "ovis25_2b", answer_language_model},
    {"text_encode", "llama3_8b_hv", answer_language_model},
    {"text_encode", "llama3_8b_hidream", answer_language_model},
    {"text_encode", "mistral3_24b", answer_language_model},
    {"text_encode", "ministral3_3b", answer_language_model},
    {"text_encode", "gemma2_2b", answer_language_model},
    {"text_encode", "gemma3_12b", answer_language_model},
    {"unet_step", "sd3", answer_sd3},
    {"unet_step", "cosmos_predict2", answer_cosmos_predict2, Medium::Video},
    {"unet_step", "anima", answer_cosmos_predict2, Medium::Video},
    {"unet_step", "wan", answer_wan, Medium::Video},
    {"vae_decode", "vae_wan21", answer_wan_vae, Medium::Video},
    {"vae_encode", "vae_wan21", answer_wan_vae, Medium::Video},
    {"vae_decode", "vae_wan22", answer_wan_vae, Medium::Video},
    {"vae_encode", "vae_wan22", answer_wan_vae, Medium::Video},
    {"unet_step", "pixart_sigma", answer_pixart_sigma},
    {"unet_step", "flux2", answer_flux2},
    {"unet_step", "longcat_image", answer_longcat_image},
    {"unet_step", "chroma", answer_chroma},
    {"unet_step", "hunyuan_video", answer_hunyuan_video, Medium::Video},
    {"unet_step", "hunyuanimage21", answer_hunyuan_image},
    {"vae_decode", "vae_kl4", answer_kl_vae},
    {"vae_encode", "vae_kl4", answer_kl_vae},
    {"vae_decode", "vae_kl16", answer_kl_vae},
    {"vae_encode", "vae_kl16", answer_kl_vae},
    {"unet_step", "seedvr2", answer_seedvr2, Medium::Video},
    {"unet_step", "svd", answer_svd, Medium::Video},
    {"upscale", "esrgan", answer_esrgan},
    {"vae_decode", "taesd4", answer_taesd},
    {"vae_decode", "taesd16", answer_taesd},
    {"text_encode", "clip_vision_vitl", answer_clip_vision},
    {"text_encode", "clip_vision_h", answer_clip_vision},
    {"text_encode", "clip_vision_g", answer_clip_vision},
    {"text_encode", "siglip_384", answer_clip_vision},
    {"text_encode", "qwen25_7b_vision", answer_qwen_vision},
    {"vae_decode", "vae_stable_audio", answer_oobleck, Medium::Video},
    {"vae_decode", "vae_ace_step15", answer_oobleck, Medium::Video},
    {"vae_encode", "vae_ace_step15", answer_oobleck, Medium::Video},
    {"vae_decode", "vae_ace", answer_music_dcae, Medium::Video},
    {"unet_step", "hidream", answer_hidream},
    {"unet_step", "hidream_i1", answer_hidream},
    {"unet_step", "ace_step15", answer_ace_step15, Medium::Video},
    {"unet_step", "ace_step", answer_ace_step, Medium::Video},
    {"unet_step", "hunyuandit", answer_hunyuandit},
    {"vae_decode", "vae_cosmos1", answer_cosmos_vae, Medium::Video},
    {"vae_encode", "vae_cosmos1", answer_cosmos_vae, Medium::Video},
    {"unet_step", "cosmos1", answer_cosmos1, Medium::Video},
    {"unet_step", "stable_audio", answer_stable_audio, Medium::Video},
    {"unet_step", "minimax_music3", answer_minimax_music3, Medium::Video},
    {"unet_step", "ltxv", answer_ltxv, Medium::Video},
    {"unet_step", "ltxav", answer_ltxav, Medium::Video},
    {"text_encode", "ltxav", answer_ltxav_connector},
    {"vae_decode", "vae_ltxav_audio", answer_ltx_audio_vae, Medium::Video},
    {"vae_decode", "vae_ltx24", answer_ltx24_vae, Medium::Video},
    {"vae_decode", "vae_ltxv", answer_ltx_vae, Medium::Video},
    {"vae_encode", "vae_ltxv", answer_ltx_vae, Medium::Video},
    {"unet_step", "hunyuan_video15", answer_hunyuan_video_15, Medium::Video},
    {"vae_decode", "vae_flux2", answer_flux2_vae},
    {"vae_encode", "vae_flux2", answer_flux2_vae},
    {"vae_decode", "vae_hunyuan_video", answer_hunyuan_video_vae, Medium::Video},
    {"vae_encode", "vae_hunyuan_video", answer_hunyuan_video_vae, Medium::Video},
    {"vae_decode", "vae_hunyuan_video15", answer_pixel_vae, Medium::Video},
    {"vae_encode", "vae_hunyuan_video15", answer_pixel_vae, Medium::Video},
    {"vae_decode", "vae_hunyuanimage21", answer_pixel_vae},
    {"vae_encode", "vae_hunyuanimage21", answer_pixel_vae},
    {"vae_decode", "vae_hunyuanimage21_refiner", answer_pixel_vae},
    {"vae_encode", "vae_hunyuanimage21_refiner", answer_pixel_vae},
    {"vae_decode", "vae_svd", answer_svd_vae, Medium::Video},
    {"vae_decode", "vae_seedvr2", answer_seedvr2_vae, Medium::Video},
    {"vae_encode", "vae_seedvr2", answer_seedvr2_vae, Medium::Video},
    {"unet_step", "krea2", answer_krea2},
    {"unet_step", "ideogram4", answer_ideogram4},
    {"unet_step", "ernie", answer_ernie},
    {"unet_step", "mage_flow", answer_mage_flow},
    {"unet_step", "kandinsky5", answer_kandinsky5, Medium::Video},
    {"unet_step", "minimax_h3", answer_minimax_h3, Medium::Video},
    {"unet_step", "pixeldit_t2i", answer_pixeldit},
    {"unet_step", "boogu", answer_boogu},
    {"unet_step", "chroma_radiance", answer_chroma_radiance},
    {"unet_step", "hidream_o1", answer_hidream_o1},
    {"vae_decode", "vae_mage", answer_mage_vae},
    {"vae_encode", "vae_mage", answer_mage_vae},
    {"vae_decode", "vae_minimax_h3", answer_minimax_vae, Medium::Video},
    {"vae_encode", "vae_minimax_h3", answer_minimax_vae, Medium::Video},
    {"vae_decode", "vae_minimax_h3_audio", answer_minimax_audio_vae, Medium::Video},
});

// What the question adds to a family's walk and the walk would leave out.
bool asks_for_more(const Question& q, const Family& family) {
    const bool several_frames = q.frames > 1 && family.medium != Medium::Video;
    const bool controlnet = contains(q.variant, "controlnet") && family.answer != answer_unet;
    const bool scales = q.types.scaled_fp8 && q.phase != "text_encode";
    return several_frames || controlnet || scales;
}

Result<Walk> answer(const Question& q) {
    for (const Family& family : kFamilies)
        if (family.phase == q.phase && family.name == q.family)
            return asks_for_more(q, family) ? unknown(q) : family.answer(q);
    if (q.frames > 1 || q.types.scaled_fp8) return unknown(q);
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
