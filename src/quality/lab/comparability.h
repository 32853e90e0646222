// SPDX-License-Identifier: Apache-2.0
//
// Whether two pictures of one prompt and seed may be compared pixel by pixel: only when both
// settings solve for the same picture, one more exactly than the other. Steps, the solver of an
// ordinary differential equation, precision and VAE tiling approximate one limit; CFG, size and
// fresh noise change it. Pure.
//
// The kinds of samplers are facts of ComfyUI's k-diffusion samplers (October 2025).
#pragma once
#include "base/phrase.h"
#include "quality/lab/setting.h"

#include <cstdint>
#include <string>
#include <string_view>

namespace plimsoll::quality {

enum class SamplerKind : std::uint8_t {
    Ode,         // no noise after the first: all of them converge to one picture
    SeededPath,  // noise from a seeded Brownian path, which more steps refine: a limit of its own
    FreshNoise,  // new noise at each step: another picture with another number of steps
    OwnOde,      // *_cfg_pp: solves another equation, with a limit of its own
    Unknown,
};
[[nodiscard]] SamplerKind sampler_kind(std::string_view sampler);
[[nodiscard]] std::string_view sampler_kind_name(SamplerKind kind);

struct Comparability {
    bool full_reference = false;
    Phrase why;  // the reason that it is not, for people; empty when it is
};
// `candidate` against `reference`, for one and the same prompt and seed.
[[nodiscard]] Comparability comparability(const Setting& candidate, const Setting& reference);

}  // namespace plimsoll::quality
