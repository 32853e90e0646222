// SPDX-License-Identifier: Apache-2.0
#include "memory/samplers.h"

#include <algorithm>
#include <array>

namespace plimsoll::memory {

namespace {

// Second-order samplers end with one plain step where the noise reaches zero.
constexpr std::array<SamplerTraits, 44> kSamplers = {{
    {"euler"},
    {"euler_cfg_pp", 1, 0, true},
    {"euler_ancestral"},
    {"euler_ancestral_cfg_pp", 1, 0, true},
    {"heun", 2, 1},
    {"heunpp2", 3, 3, false, false, Saves::Always},  // last but one: two forwards, last: one
    {"exp_heun_2_x0", 2, 1},
    {"exp_heun_2_x0_sde", 2, 1},
    {"dpm_2", 2, 1},
    {"dpm_2_ancestral", 2, 1},
    {"lms"},
    {"dpm_fast"},
    {"dpm_adaptive", 1, 0, false, true},
    {"dpmpp_2s_ancestral", 2, 1},
    {"dpmpp_2s_ancestral_cfg_pp", 2, 1, true},
    {"dpmpp_sde", 2, 1},
    {"dpmpp_sde_gpu", 2, 1},
    {"dpmpp_2m"},
    {"dpmpp_2m_cfg_pp", 1, 0, true},
    {"dpmpp_2m_sde"},
    {"dpmpp_2m_sde_gpu"},
    {"dpmpp_2m_sde_heun"},
    {"dpmpp_2m_sde_heun_gpu"},
    {"dpmpp_3m_sde"},
    {"dpmpp_3m_sde_gpu"},
    {"ddpm"},
    {"lcm"},
    {"ipndm"},
    {"ipndm_v"},
    {"deis"},
    {"res_multistep"},
    {"res_multistep_cfg_pp", 1, 0, true},
    {"res_multistep_ancestral"},
    {"res_multistep_ancestral_cfg_pp", 1, 0, true},
    {"gradient_estimation"},
    {"gradient_estimation_cfg_pp", 1, 0, true},
    {"er_sde"},
    {"seeds_2", 2, 1},
    {"seeds_3", 3, 2},
    {"sa_solver"},
    {"sa_solver_pece", 2, 1, false, false, Saves::Always},  // nothing to correct at the first
    {"ddim"},
    {"uni_pc"},
    {"uni_pc_bh2"},
}};

// dpm_adaptive at its default tolerances: 3 forwards a step, about 20 accepted or rejected steps on
// an image model whatever `steps` says. Chosen; shown as an estimate.
constexpr std::int64_t kAdaptiveForwards = 60;

}  // namespace

std::optional<SamplerTraits> sampler_traits(std::string_view name) {
    const auto found = std::ranges::find(kSamplers, name, &SamplerTraits::name);
    if (found == kSamplers.end()) return std::nullopt;
    return *found;
}

std::int64_t sampler_forwards(std::string_view sampler, int steps, Ending ending) {
    if (steps <= 0) return 0;
    const auto traits = sampler_traits(sampler);
    if (!traits) return steps;
    if (traits->adaptive) return kAdaptiveForwards;
    const bool saves = ending == Ending::Clean || traits->saves == Saves::Always;
    return std::max<std::int64_t>(
        1, std::int64_t{traits->forwards} * steps - (saves ? traits->saved : 0));
}

int scheduled_steps(std::string_view scheduler, std::string_view sampler, int steps) {
    if (scheduler != "ddim_uniform" || steps <= 0) return steps;
    // These ask for one more and drop the last but one.
    constexpr std::array<std::string_view, 4> kOneMore = {"dpm_2", "dpm_2_ancestral", "uni_pc",
                                                          "uni_pc_bh2"};
    const int more = std::ranges::find(kOneMore, sampler) != kOneMore.end() ? 1 : 0;
    constexpr int kTimesteps = 1000;  // of all Stable Diffusion models; the first is not used
    const int stride = std::max(kTimesteps / (steps + more), 1);
    return (kTimesteps - 1 + stride - 1) / stride - more;
}

}  // namespace plimsoll::memory
