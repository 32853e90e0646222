// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/cosmos_predict2.h"
#include "base/described.h"
#include "memory/trace/answers.h"

#include <fmt/format.h>

namespace plimsoll::memory::trace {

namespace {

constexpr int kFramesPerCell = 4;  // of Wan 2.1's VAE; the first frame has a cell of its own

// The published networks (NVIDIA 2025; Anima: CircleStone Labs 2026).
Result<modelfile::CosmosPredict2Config> cosmos_variant(const Question& q) {
    const auto named = [&](std::string_view name) { return names_network(q.variant, name); };
    const bool anima = q.family == "anima";
    modelfile::CosmosPredict2Config config;
    if (anima) config.image_model = "anima";
    // The recordings that vary kernels are of 2B.
    const bool small = named("2B") || (!anima && (named("2B_t2i") || is_way_of_running(q.variant)));
    if (!anima && named("14B")) {
        config.model_channels = 5120;
        config.num_blocks = 36;
        config.num_heads = 40;
    } else if (!small && q.config == nullptr) {
        return unknown(q);
    }
    const std::string image_model = config.image_model;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    if (config.image_model != image_model) return unknown(q);
    return config;
}

}  // namespace

Result<Walk> answer_cosmos_predict2(const Question& q) {
    TRY_ASSIGN(const modelfile::CosmosPredict2Config config, cosmos_variant(q));
    TRY_ASSIGN(const auto cosmos, build_cosmos_predict2(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    const bool whole =
        q.latent_width % config.patch_spatial == 0 && q.latent_height % config.patch_spatial == 0;
    if (!whole && q.rules.comfyui_minor_key < kComfy033)
        return fail(Errc::InvalidInput,
                    fmt::format("a latent of {} x {} cells is not whole patches of {}, which "
                                "ComfyUI pads to from 0.33.0 on",
                                q.latent_width, q.latent_height, config.patch_spatial));
    return answer_step(q, *cosmos, call);
}

}  // namespace plimsoll::memory::trace
