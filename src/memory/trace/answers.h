// SPDX-License-Identifier: Apache-2.0
//
// One function for each kind of network: from a question to the walk that answers it. NotFound
// where the variant is not one of the family's.
#pragma once
#include "memory/trace/question.h"

namespace plimsoll::memory::trace {

[[nodiscard]] Result<Walk> answer_unet(const Question& q);
[[nodiscard]] Result<Walk> answer_controlnet(const Question& q);
[[nodiscard]] Result<Walk> answer_kl_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_clip(const Question& q);
[[nodiscard]] Result<Walk> answer_t5(const Question& q);
[[nodiscard]] Result<Walk> answer_language_model(const Question& q);
[[nodiscard]] Result<Walk> answer_flux(const Question& q);
[[nodiscard]] Result<Walk> answer_lumina2(const Question& q);
[[nodiscard]] Result<Walk> answer_omnigen2(const Question& q);
[[nodiscard]] Result<Walk> answer_qwen_image(const Question& q);
[[nodiscard]] Result<Walk> answer_sd3(const Question& q);
[[nodiscard]] Result<Walk> answer_cosmos_predict2(const Question& q);
[[nodiscard]] Result<Walk> answer_wan(const Question& q);
[[nodiscard]] Result<Walk> answer_wan_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_pixart_sigma(const Question& q);
[[nodiscard]] Result<Walk> answer_flux2(const Question& q);
[[nodiscard]] Result<Walk> answer_longcat_image(const Question& q);
[[nodiscard]] Result<Walk> answer_chroma(const Question& q);
[[nodiscard]] Result<Walk> answer_hunyuan_video(const Question& q);
[[nodiscard]] Result<Walk> answer_hunyuan_image(const Question& q);
[[nodiscard]] Result<Walk> answer_clip_vision(const Question& q);
[[nodiscard]] Result<Walk> answer_qwen_vision(const Question& q);
[[nodiscard]] Result<Walk> answer_esrgan(const Question& q);
[[nodiscard]] Result<Walk> answer_taesd(const Question& q);
[[nodiscard]] Result<Walk> answer_seedvr2(const Question& q);
[[nodiscard]] Result<Walk> answer_svd(const Question& q);
[[nodiscard]] Result<Walk> answer_oobleck(const Question& q);
[[nodiscard]] Result<Walk> answer_music_dcae(const Question& q);
[[nodiscard]] Result<Walk> answer_hidream(const Question& q);
[[nodiscard]] Result<Walk> answer_ace_step15(const Question& q);
[[nodiscard]] Result<Walk> answer_ace_step(const Question& q);
[[nodiscard]] Result<Walk> answer_hunyuandit(const Question& q);
[[nodiscard]] Result<Walk> answer_stable_audio(const Question& q);
[[nodiscard]] Result<Walk> answer_minimax_music3(const Question& q);
[[nodiscard]] Result<Walk> answer_cosmos_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_cosmos1(const Question& q);
[[nodiscard]] Result<Walk> answer_ltxv(const Question& q);
[[nodiscard]] Result<Walk> answer_ltx_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_ltxav(const Question& q);
[[nodiscard]] Result<Walk> answer_ltxav_connector(const Question& q);
[[nodiscard]] Result<Walk> answer_ltx_audio_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_ltx24_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_hunyuan_video_15(const Question& q);
[[nodiscard]] Result<Walk> answer_flux2_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_hunyuan_video_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_pixel_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_svd_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_krea2(const Question& q);
[[nodiscard]] Result<Walk> answer_ideogram4(const Question& q);
[[nodiscard]] Result<Walk> answer_ernie(const Question& q);
[[nodiscard]] Result<Walk> answer_mage_flow(const Question& q);
[[nodiscard]] Result<Walk> answer_kandinsky5(const Question& q);
[[nodiscard]] Result<Walk> answer_minimax_h3(const Question& q);
[[nodiscard]] Result<Walk> answer_pixeldit(const Question& q);
[[nodiscard]] Result<Walk> answer_boogu(const Question& q);
[[nodiscard]] Result<Walk> answer_chroma_radiance(const Question& q);
[[nodiscard]] Result<Walk> answer_hidream_o1(const Question& q);
[[nodiscard]] Result<Walk> answer_mage_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_minimax_audio_vae(const Question& q);
[[nodiscard]] Result<Walk> answer_minimax_vae(const Question& q);

}  // namespace plimsoll::memory::trace
