// SPDX-License-Identifier: Apache-2.0
//
// How often a sampler runs the network. Facts of the sampling algorithms as ComfyUI 0.3.64 and
// 0.33.0 offer them; forwards are time, they do not change the peak.
#pragma once
#include <cstdint>
#include <optional>
#include <string_view>

namespace plimsoll::memory {

// Where a sampler takes fewer forwards than in its other steps.
enum class Saves : std::uint8_t {
    AtZero,  // in a last step that ends without noise, which is plain
    Always,  // at its first or last steps, whatever they are
};

struct SamplerTraits {
    std::string_view name;
    // Forwards of a step, and what is saved of them: n steps run n * forwards - saved times.
    int forwards = 1;
    int saved = 0;
    bool needs_uncond = false;  // runs the negative condition even at CFG 1
    bool adaptive = false;      // chooses its own number of steps
    Saves saves = Saves::AtZero;
};

// nullopt for a sampler that is not known.
[[nodiscard]] std::optional<SamplerTraits> sampler_traits(std::string_view name);

// Whether the last step takes the noise to zero, or leaves some for another sampler
// (KSamplerAdvanced with an end_at_step and return_with_leftover_noise).
enum class Ending : std::uint8_t { Clean, LeftoverNoise };

// Runs of the network for `steps` steps; an unknown sampler is taken as one per step.
[[nodiscard]] std::int64_t sampler_forwards(std::string_view sampler, int steps,
                                            Ending ending = Ending::Clean);

// Steps that a scheduler makes when it is asked for `steps` over the whole range of noise:
// ddim_uniform strides over a thousand timesteps by a whole number and so overshoots (30 -> 31).
[[nodiscard]] int scheduled_steps(std::string_view scheduler, std::string_view sampler, int steps);

}  // namespace plimsoll::memory
