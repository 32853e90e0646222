// SPDX-License-Identifier: Apache-2.0
//
// How often a sampler runs the network. Facts of the sampling algorithms as ComfyUI 0.3.64 and
// 0.33.0 offer them; forwards are time, they do not change the peak.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::memory {

struct SamplerTraits {
    std::string_view name;
    // Forwards of a step, and what the last steps save: n steps run n * forwards - saved times.
    int forwards = 1;
    int saved = 0;
    bool needs_uncond = false;  // runs the negative condition even at CFG 1
    bool adaptive = false;      // chooses its own number of steps
};

// nullopt for a sampler that is not known.
[[nodiscard]] std::optional<SamplerTraits> sampler_traits(std::string_view name);

// Runs of the network for `steps` steps; an unknown sampler is taken as one per step.
[[nodiscard]] std::int64_t sampler_forwards(std::string_view sampler, int steps);

}  // namespace plimsoll::memory
