// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/pixart.h"
#include "base/described.h"
#include "memory/trace/answers.h"

#include <fmt/format.h>

namespace plimsoll::memory::trace {

Result<Walk> answer_pixart_sigma(const Question& q) {
    modelfile::PixArtConfig config;
    if (!names_network(q.variant, "1024ms") && q.config == nullptr) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto pixart, build_pixart(config));
    TRY_ASSIGN(const StepCall call, step_call(q));
    if (q.latent_width % config.patch_size != 0 || q.latent_height % config.patch_size != 0)
        return fail(Errc::InvalidInput,
                    fmt::format("a latent of {} x {} cells is not whole patches of {}",
                                q.latent_width, q.latent_height, config.patch_size));
    return answer_step(q, *pixart, call);
}

}  // namespace plimsoll::memory::trace
