// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuan_video.h"
#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_hunyuan_video(const Question& q) {
    constexpr int kFramesPerCell = 4;  // of the latent, after the first frame
    if (q.variant != "t2v" && !is_way_of_running(q.variant)) return unknown(q);
    modelfile::HunyuanVideoConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_hunyuan_video(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_frames = (q.frames - 1) / kFramesPerCell + 1;
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
