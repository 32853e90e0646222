// SPDX-License-Identifier: Apache-2.0
#include "base/described.h"
#include "memory/networks/dit/mmdit.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <algorithm>

namespace plimsoll::memory::trace {

namespace {

Result<modelfile::MmditConfig> sd3_variant(const Question& q) {
    const auto named = [&](std::string_view name) { return names_network(q.variant, name); };
    std::string_view name = "sd3";
    if (named("3.5_medium"))
        name = "sd35_medium";
    else if (named("3.5_large") || is_way_of_running(q.variant))  // recorded of it
        name = "sd35_large";
    else if (!named("medium") && q.config == nullptr)
        return unknown(q);
    TRY_ASSIGN(auto config, modelfile::known_denoiser<modelfile::MmditConfig>(name));
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
