// SPDX-License-Identifier: Apache-2.0
#include "quality/lab/comparability.h"

#include "base/say.h"

#include <algorithm>
#include <array>
#include <span>
#include <utility>

namespace plimsoll::quality {
namespace {

constexpr std::array<std::string_view, 16> kOde{
    "euler",  "heun",       "heunpp2",      "dpm_2",
    "lms",    "dpm_fast",   "dpm_adaptive", "dpmpp_2m",
    "ipndm",  "ipndm_v",    "deis",         "res_multistep",
    "uni_pc", "uni_pc_bh2", "ddim",         "gradient_estimation",
};
constexpr std::array<std::string_view, 8> kSeededPath{
    "dpmpp_sde",         "dpmpp_sde_gpu",         "dpmpp_2m_sde", "dpmpp_2m_sde_gpu",
    "dpmpp_2m_sde_heun", "dpmpp_2m_sde_heun_gpu", "dpmpp_3m_sde", "dpmpp_3m_sde_gpu",
};
constexpr std::array<std::string_view, 7> kFreshNoise{
    "ddpm", "lcm", "er_sde", "seeds_2", "seeds_3", "sa_solver", "sa_solver_pece",
};

bool is_one_of(std::span<const std::string_view> names, std::string_view name) {
    return std::ranges::find(names, name) != names.end();
}

Comparability no(Phrase why) {
    return {.full_reference = false, .why = std::move(why)};
}

}  // namespace

SamplerKind sampler_kind(std::string_view sampler) {
    // `euler_ancestral_cfg_pp` draws fresh noise too, so the noise is asked for first.
    if (sampler.contains("_ancestral") || is_one_of(kFreshNoise, sampler))
        return SamplerKind::FreshNoise;
    if (sampler.ends_with("_cfg_pp")) return SamplerKind::OwnOde;
    if (is_one_of(kOde, sampler)) return SamplerKind::Ode;
    if (is_one_of(kSeededPath, sampler)) return SamplerKind::SeededPath;
    return SamplerKind::Unknown;
}

std::string_view sampler_kind_name(SamplerKind kind) {
    constexpr std::array<std::string_view, 5> kNames{"ode", "seeded_path", "fresh_noise", "own_ode",
                                                     "unknown"};
    return kNames.at(static_cast<std::size_t>(kind));
}

Comparability comparability(const Setting& candidate, const Setting& reference) {
    if (candidate == reference) return {.full_reference = true, .why = {}};
    if (candidate.width != reference.width || candidate.height != reference.height)
        return no(say<"lab.other_size">(candidate.width, candidate.height, reference.width,
                                        reference.height));
    if (candidate.cfg != reference.cfg)
        return no(say<"lab.other_cfg">(candidate.cfg, reference.cfg));
    // Same steps, sampler and scheduler, so only precision or tiling differ: the noise repeats.
    if (candidate.sampler == reference.sampler && candidate.scheduler == reference.scheduler &&
        candidate.steps == reference.steps)
        return {.full_reference = true, .why = {}};
    const SamplerKind kind = sampler_kind(candidate.sampler);
    const SamplerKind other = sampler_kind(reference.sampler);
    switch (kind) {
        case SamplerKind::FreshNoise:
            return no(say<"lab.fresh_noise">(candidate.sampler));
        case SamplerKind::Unknown:
            return no(say<"lab.sampler_unknown">(candidate.sampler));
        case SamplerKind::Ode:
            if (other == SamplerKind::Ode) return {.full_reference = true, .why = {}};
            return no(say<"lab.other_limit">(candidate.sampler, reference.sampler));
        case SamplerKind::SeededPath:
        case SamplerKind::OwnOde:
            break;
    }
    if (candidate.sampler != reference.sampler)
        return no(say<"lab.own_limit">(candidate.sampler, reference.sampler));
    // The path is cut at the schedule's own range of noise. For *_cfg_pp the limit is the same for
    // every schedule.
    if (kind == SamplerKind::SeededPath && candidate.scheduler != reference.scheduler)
        return no(
            say<"lab.other_path">(candidate.sampler, candidate.scheduler, reference.scheduler));
    return {.full_reference = true, .why = {}};
}

}  // namespace plimsoll::quality
