// SPDX-License-Identifier: Apache-2.0
//
// What ComfyUI's model classes say about a family of diffusion networks: how much memory it
// believes that a step takes, in which types the network may be kept, what its latents look like.
//
// Sources: comfy/supported_models and latent_formats of ComfyUI 0.3.64 and of 0.38 (facts only);
// a version in between has the older number.
#pragma once
#include "memory/compute_type.h"
#include "memory/server.h"
#include "modelfile/network_config.h"

#include <span>

namespace plimsoll::memory {

struct LatentFormat {
    int channels = 4;
    int pixels_per_cell = 8;
    int frames_per_cell = 1;   // above 1: a video; the first frame has a cell of its own
    bool of_sound = false;     // cells along the time, which no image's latent can stand in for
    int samples_per_cell = 0;  // of a sound; 0: whatever an empty latent has
};

struct FamilyTraits {
    double usage_factor = 1.0;           // memory_usage_factor
    std::span<const ComputeType> types;  // in order of preference; static
    LatentFormat latent;
    bool counts_references = false;  // reference latents are part of the estimate
    // The network takes reference latents, but its walk does not.
    bool references_unknown = false;
    // Of one cell of time of a sound that is sampled along, packed with the video into one long
    // row. Above 0: the estimate counts the elements of both instead of the video's cells.
    int sound_elements = 0;
    bool needs_sound = false;  // beside its video
    bool alone = false;        // one condition of one video at a time
    // Latent frames that the walk knows. frames_max 0: any number above.
    int frames_min = 1;
    int frames_max = 0;
};

// Some numbers follow from the width of the network at hand.
[[nodiscard]] FamilyTraits family_traits(modelfile::Family family,
                                         const modelfile::DenoiserConfig& config,
                                         const ComfyVersion& version);

}  // namespace plimsoll::memory
