// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/svd_vae.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_svd_vae(const Question& q) {
    const bool known = q.variant == "temporal_decoder" && q.batch == 1 && q.config == nullptr &&
                       q.rules.comfyui_minor_key < kComfy033;
    if (!known) return unknown(q);
    TRY_DO(check_size(q));
    modelfile::KlVaeConfig config;
    config.quant_conv = false;
    TRY_ASSIGN(const auto vae, build_svd_vae(config));
    return simulate_svd_vae_decode(*vae, {.batch = q.frames,
                                          .height = q.height,
                                          .width = q.width,
                                          .compute = q.types.compute,
                                          .storage = q.types.storage,
                                          .rules = q.rules});
}

}  // namespace plimsoll::memory::trace
