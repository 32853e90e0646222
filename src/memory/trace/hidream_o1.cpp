// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hidream_o1.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_hidream_o1(const Question& q) {
    constexpr int kPatch = 32;
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    if (q.call != "forward") return unknown(q);  // the model object makes the ids and positions
    modelfile::HiDreamO1Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_hidream_o1(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    if (q.width < kPatch || q.height < kPatch || q.width % kPatch != 0 || q.height % kPatch != 0)
        return fail(Errc::InvalidInput, "width and height must be whole patches of 32 pixels");
    call.latent_width = q.width;  // pixels are its cells
    call.latent_height = q.height;
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
