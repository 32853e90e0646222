// SPDX-License-Identifier: Apache-2.0
#include "base/described.h"
#include "memory/networks/dit/mmdit.h"
#include "memory/trace/answers.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory::trace {

namespace {

// The published networks (Stability AI 2024).
modelfile::MmditConfig medium() {
    return {};
}
modelfile::MmditConfig medium_35() {
    modelfile::MmditConfig config;
    config.qk_norm = "rms";
    config.pos_embed_max_size = 384;
    config.x_block_self_attn_layers = {0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12};
    return config;
}
modelfile::MmditConfig large_35() {
    modelfile::MmditConfig config;
    config.depth = 38;
    config.qk_norm = "rms";
    return config;
}

Result<modelfile::MmditConfig> sd3_variant(const Question& q) {
    const auto named = [&](std::string_view name) { return names_network(q.variant, name); };
    modelfile::MmditConfig config;
    if (named("medium"))
        config = medium();
    else if (named("3.5_medium"))
        config = medium_35();
    else if (named("3.5_large") || is_way_of_running(q.variant))  // recorded of it
        config = large_35();
    else if (q.config == nullptr)
        return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    return config;
}

}  // namespace

Result<Walk> answer_sd3(const Question& q) {
    TRY_ASSIGN(const modelfile::MmditConfig config, sd3_variant(q));
    TRY_ASSIGN(const auto mmdit, build_mmdit(config));
    TRY_ASSIGN(const StepCall call, step_call(q));
    if (std::max(q.latent_width, q.latent_height) > mmdit->latent_side_max())
        return fail(Errc::InvalidInput,
                    fmt::format("a latent of {} x {} cells is larger than the network's table of "
                                "positions, {} cells a side",
                                q.latent_width, q.latent_height, mmdit->latent_side_max()));
    return answer_step(q, *mmdit, call);
}

}  // namespace plimsoll::memory::trace
