// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/ernie.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_ernie(const Question& q) {
    constexpr int kCellPixels = 16;  // of its VAE's latents along a side
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::ErnieConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_ernie(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kCellPixels;
    call.latent_height = q.height / kCellPixels;
    // Cells that make no whole patch have no place in the output.
    if (call.latent_width < 1 || call.latent_height < 1 ||
        call.latent_width % config.patch_size != 0 || call.latent_height % config.patch_size != 0)
        return fail(Errc::InvalidInput, "width and height must be whole patches of 16 pixels");
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
