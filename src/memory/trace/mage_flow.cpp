// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/mage_flow.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_mage_flow(const Question& q) {
    constexpr int kCellPixels = 16;  // of its VAE's latents along a side
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::MageFlowConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_mage_flow(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kCellPixels;
    call.latent_height = q.height / kCellPixels;
    if (call.latent_width < 1 || call.latent_height < 1)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
