// SPDX-License-Identifier: Apache-2.0
#include "simulator/picture/quality.h"

#include <algorithm>
#include <array>
#include <cmath>

namespace plimsoll::simulator {

namespace {

struct SamplerTrait {
    std::string_view name;
    double rate;
    int forwards;
    bool drifts;
};
// Forwards a step as in k-diffusion; rates chosen by the order of the method.
constexpr std::array<SamplerTrait, 42> kSamplers{{
    {"euler", 1.0, 1, false},
    {"euler_cfg_pp", 1.0, 1, false},
    {"euler_ancestral", 0.9, 1, true},
    {"euler_ancestral_cfg_pp", 0.9, 1, true},
    {"heun", 1.6, 2, false},
    {"heunpp2", 1.7, 2, false},
    {"dpm_2", 1.6, 2, false},
    {"dpm_2_ancestral", 1.4, 2, true},
    {"lms", 1.1, 1, false},
    {"dpm_fast", 0.8, 1, false},
    {"dpm_adaptive", 3.0, 2, false},
    {"dpmpp_2s_ancestral", 1.5, 2, true},
    {"dpmpp_2s_ancestral_cfg_pp", 1.5, 2, true},
    {"dpmpp_sde", 1.8, 2, true},
    {"dpmpp_sde_gpu", 1.8, 2, true},
    {"dpmpp_2m", 1.7, 1, false},
    {"dpmpp_2m_cfg_pp", 1.7, 1, false},
    {"dpmpp_2m_sde", 1.5, 1, true},
    {"dpmpp_2m_sde_gpu", 1.5, 1, true},
    {"dpmpp_2m_sde_heun", 1.6, 1, true},
    {"dpmpp_2m_sde_heun_gpu", 1.6, 1, true},
    {"dpmpp_3m_sde", 1.4, 1, true},
    {"dpmpp_3m_sde_gpu", 1.4, 1, true},
    {"ddpm", 0.4, 1, true},
    {"lcm", 0.6, 1, true},
    {"ipndm", 1.5, 1, false},
    {"ipndm_v", 1.4, 1, false},
    {"deis", 1.6, 1, false},
    {"res_multistep", 1.7, 1, false},
    {"res_multistep_cfg_pp", 1.7, 1, false},
    {"res_multistep_ancestral", 1.5, 1, true},
    {"res_multistep_ancestral_cfg_pp", 1.5, 1, true},
    {"gradient_estimation", 1.4, 1, false},
    {"gradient_estimation_cfg_pp", 1.4, 1, false},
    {"er_sde", 1.4, 1, true},
    {"seeds_2", 1.6, 2, true},
    {"seeds_3", 1.8, 3, true},
    {"sa_solver", 1.6, 1, true},
    {"sa_solver_pece", 1.8, 2, true},
    {"ddim", 1.0, 1, false},
    {"uni_pc", 1.8, 1, false},
    {"uni_pc_bh2", 1.8, 1, false},
}};

SamplerTrait trait_of(std::string_view sampler) {
    const auto* const found = std::ranges::find(kSamplers, sampler, &SamplerTrait::name);
    return found == kSamplers.end() ? kSamplers.front() : *found;
}

// How much of the error a schedule leaves, against "normal". Chosen.
double scheduler_factor(std::string_view scheduler) {
    constexpr std::array<std::pair<std::string_view, double>, 9> kFactors{
        {{"normal", 1.0},
         {"karras", 0.85},
         {"exponential", 0.9},
         {"sgm_uniform", 1.0},
         {"simple", 1.05},
         {"ddim_uniform", 1.1},
         {"beta", 0.9},
         {"linear_quadratic", 1.1},
         {"kl_optimal", 0.87}}};
    for (const auto& [name, factor] : kFactors)
        if (name == scheduler) return factor;
    return 1;
}

}  // namespace

double sampler_rate(std::string_view sampler) {
    return trait_of(sampler).rate;
}
int forwards_per_step(std::string_view sampler) {
    return trait_of(sampler).forwards;
}

Defects true_defects(const PictureSettings& settings) {
    Defects defects;
    const SamplerTrait sampler = trait_of(settings.sampler);
    defects.noise = 0.30 * std::exp(-settings.steps * sampler.rate / 8) *
                    scheduler_factor(settings.scheduler) * std::min(1.0, settings.denoise);
    defects.drift = sampler.drifts ? 1 : 0;
    const double above = std::max(0.0, settings.cfg - 9);
    defects.contrast = std::max(0.2, 1 + 0.02 * (settings.cfg - 7)) + 0.16 * above;
    defects.saturation = std::max(0.2, 1 + 0.02 * (settings.cfg - 7)) + 0.12 * above;
    defects.wash = std::clamp((4 - settings.cfg) / 3, 0.0, 1.0);
    const double side = std::sqrt(static_cast<double>(settings.width) * settings.height);
    const double ratio = side / settings.native_side;
    defects.softness = std::clamp(0.75 - ratio, 0.0, 0.75);
    defects.doubling = std::max(0.0, ratio - 1.35);
    return defects;
}

double badness(const Defects& defects) {
    return 4 * defects.noise + 0.8 * std::max(0.0, defects.contrast - 1.04) + defects.wash +
           2 * defects.softness + 1.5 * defects.doubling;
}

}  // namespace plimsoll::simulator
