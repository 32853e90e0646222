// SPDX-License-Identifier: Apache-2.0
//
// What runs in one step of sampling: which conditions share a forward, on which part of the latent,
// in which share of the steps; in how many windows; and what patches of the model keep on the card
// beside it.
#pragma once
#include "memory/families.h"
#include "memory/program.h"
#include "memory/residency/estimates.h"

#include <cstdint>
#include <optional>
#include <vector>

namespace plimsoll::memory {

// One forward of a step.
struct PlannedForward {
    std::vector<int> conditions;  // indices into conditions_of(step)
    int tokens = 77;
    LatentShape latent;  // that it sees: a window, the area of its conditions
    double share = 1.0;  // of the steps that it runs in, times how often it runs in each
};

struct PlannedStep {
    std::vector<PlannedForward> forwards;
    int windows = 1;
    std::size_t together = 0;  // most conditions that are active at once
    std::size_t groups = 0;    // forwards for them, in one window
    bool ranged = false;       // some conditions do not run in all steps
};

// The latent of one window; as it is where it is no longer than that.
[[nodiscard]] LatentShape windowed(const LatentShape& latent, const SamplingPatches& patches);
// How many windows there are of it in the first step.
[[nodiscard]] int window_count(const LatentShape& latent, const SamplingPatches& patches);

// `free_bytes`: what ComfyUI takes as free when it decides what runs together.
[[nodiscard]] PlannedStep plan_step(const SampleStep& step, const std::vector<ConditionUse>& uses,
                                    const LatentShape& latent, const FamilyTraits& traits,
                                    const SamplingEstimate& estimate, double free_bytes);

// Elements of the hidden states of one image or video, as its blocks hand them on; nullopt for
// networks whose are not known.
[[nodiscard]] std::optional<std::int64_t> hidden_elements(const modelfile::DenoiserConfig& config,
                                                          const LatentShape& latent);

// Bytes that stay on the card through all forwards; nullopt where hidden states are kept whose size
// is not known. `elements` of files beside the model are in `element_bytes` each.
[[nodiscard]] std::optional<std::int64_t> kept_bytes(const SampleStep& step, const Program& program,
                                                     const modelfile::DenoiserConfig& config,
                                                     const LatentShape& latent,
                                                     std::int64_t element_bytes);

}  // namespace plimsoll::memory
