// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/walk.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// As published.
modelfile::UnetConfig svd_unet() {
    modelfile::UnetConfig c;
    c.in_channels = 8;  // the latent and the image's
    c.channel_mult = {1, 2, 4, 4};
    c.num_res_blocks = {2, 2, 2, 2};
    c.transformer_depth = {1, 1, 1, 1, 1, 1, 0, 0};
    c.transformer_depth_output = {1, 1, 1, 1, 1, 1, 1, 1, 1, 0, 0, 0};
    c.context_dim = 1024;
    c.adm_in_channels = 768;
    c.use_linear_in_transformer = true;
    c.temporal = true;
    c.prediction = "v";
    return c;
}

}  // namespace

// What the sampler and the model object do around it was not recorded.
Result<Walk> answer_svd(const Question& q) {
    constexpr std::int64_t kImagesMax = 1 << 16;
    const bool known = q.variant == "img2vid" && q.call == "forward" && q.config == nullptr &&
                       q.rules.comfyui_minor_key < kComfy033;
    if (!known) return unknown(q);
    if (std::int64_t{q.batch} * q.frames > kImagesMax)
        return fail(Errc::InvalidInput, "batch times frames is too much");
    TRY_ASSIGN(const auto unet, build_video_unet(svd_unet()));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.batch = q.batch * q.frames;
    call.latent_frames = q.frames;
    return answer_step(q, *unet, call);
}

}  // namespace plimsoll::memory::trace
