// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI believes computing will take: the estimates by which it decides what to evict, how
// much of a model to load, and what runs together. They are not forecasts: the walks say what is
// really allocated.
#pragma once
#include "memory/networks/vae.h"
#include "memory/networks/walk.h"
#include "memory/program.h"
#include "memory/residency/loader_rules.h"
#include "modelfile/network_config.h"

#include <cstdint>
#include <span>
#include <vector>

namespace plimsoll::memory {

enum class AttentionMemory : std::uint8_t {
    Linear,     // torch SDPA, xformers, flash, sage: no score matrix
    Quadratic,  // --use-split-cross-attention, --use-quad-cross-attention
};
[[nodiscard]] AttentionMemory attention_memory(const LaunchFlags& flags);

struct SamplingEstimate {
    double factor = 1.0;             // FamilyTraits::usage_factor
    std::int64_t element_bytes = 2;  // of the compute type
    AttentionMemory attention = AttentionMemory::Linear;

    // Bytes for `area` latent cells, all images and conditions together.
    [[nodiscard]] double bytes(std::int64_t area) const;
};
[[nodiscard]] std::int64_t latent_area(const LatentShape& latent);

// What ComfyUI believes that a VAE takes for one image or video of this size, whatever the batch:
// frames, rows and columns of the latent for decoding, of pixels for encoding. A sound is one
// frame: its latents along the time, or its samples, are the columns.
struct VaeExtent {
    std::int64_t frames = 1;
    std::int64_t height = 0;
    std::int64_t width = 0;
};
[[nodiscard]] double vae_decode_estimate(VaeKind kind, const VaeExtent& latent, ComputeType compute,
                                         const ComfyVersion& version);
[[nodiscard]] double vae_encode_estimate(VaeKind kind, const VaeExtent& pixels, ComputeType compute,
                                         const ComfyVersion& version);
// In which types the VAE may be kept, in order of preference.
[[nodiscard]] std::span<const ComputeType> vae_types(VaeKind kind);
// How many images a VAE takes at once where so much is free.
[[nodiscard]] int vae_batch(double free_bytes, double estimate);

// Conditions share a forward where so many times its estimate is free.
inline constexpr double kForwardMargin = 1.5;

// One condition of a step: the positive ones, then the negative.
struct Condition {
    int tokens = 77;
    std::uint64_t control_id = 0;  // conditions with other ControlNets never share a forward
};
// Which conditions share a forward, in the order in which the forwards run. Conditions that differ
// in length share one where they can be repeated to a common length of at most four times the
// shorter. `area`: latent cells of one condition, all images and references.
struct ForwardGroup {
    std::vector<int> conditions;  // indices, as ComfyUI orders them in the batch
    int tokens = 77;              // after repetition
};
[[nodiscard]] std::vector<ForwardGroup> group_conditions(std::span<const Condition> conditions,
                                                         std::int64_t area,
                                                         const SamplingEstimate& estimate,
                                                         double free_bytes);

}  // namespace plimsoll::memory
