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
    {"heunpp2", 3, 3},  // the last but one takes two forwards, the last one
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
    {"sa_solver_pece", 2, 1},
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

std::int64_t sampler_forwards(std::string_view sampler, int steps) {
    if (steps <= 0) return 0;
    const auto traits = sampler_traits(sampler);
    if (!traits) return steps;
    if (traits->adaptive) return kAdaptiveForwards;
    return std::max<std::int64_t>(1, std::int64_t{traits->forwards} * steps - traits->saved);
}

}  // namespace plimsoll::memory
