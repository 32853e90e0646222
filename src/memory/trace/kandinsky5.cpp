// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/kandinsky5.h"

#include "base/described.h"
#include "memory/trace/answers.h"

#include <array>

namespace plimsoll::memory::trace {

namespace {

Result<modelfile::Kandinsky5Config> kandinsky5_config(const Question& q) {
    modelfile::Kandinsky5Config config;  // the lite video model's
    constexpr std::array<std::string_view, 3> kNames = {"image_lite", "lite_video", "pro_video"};
    bool named = is_way_of_running(q.variant);
    for (const std::string_view name : kNames) named = named || names_network(q.variant, name);
    if (!named) return unknown(q);
    if (names_network(q.variant, "image_lite")) {
        config.model_dim = 2560;
        config.ff_dim = 10240;
        config.visual_embed_dim = 64;
        config.num_visual_blocks = 50;
        config.axes_dims = {32, 48, 48};
    } else if (names_network(q.variant, "pro_video")) {
        config.model_dim = 4096;
        config.ff_dim = 16384;
        config.time_dim = 1024;
        config.num_text_blocks = 4;
        config.num_visual_blocks = 60;
        config.axes_dims = {32, 48, 48};
    }
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    return config;
}

}  // namespace

Result<Walk> answer_kandinsky5(const Question& q) {
    constexpr int kFramesPerLatent = 4;
    if (q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    TRY_ASSIGN(const modelfile::Kandinsky5Config config, kandinsky5_config(q));
    TRY_ASSIGN(const auto network, build_kandinsky5(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_frames = (q.frames - 1) / kFramesPerLatent + 1;
    if (call.latent_frames > kKandinsky5FramesMax) return unknown(q);
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
