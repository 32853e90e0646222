// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/pixeldit.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_pixeldit(const Question& q) {
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::PixelDitConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_pixeldit(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width;  // pixels are its cells
    call.latent_height = q.height;
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
