// SPDX-License-Identifier: Apache-2.0
//
// A step of a program in the terms of the network that runs it: the latent as it takes it, the
// conditions that remain, the area that ComfyUI's estimate counts, the tiles of a VAE.
#pragma once
#include "memory/families.h"
#include "memory/networks/vae.h"
#include "memory/program.h"
#include "memory/residency/estimates.h"
#include "memory/residency/tiles.h"

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::memory {

// An empty latent of another format is made anew in its size (ComfyUI since 0.12; before that such
// a graph fails).
[[nodiscard]] LatentShape taken_by(LatentShape latent, const LatentFormat& format);

// Empty where the network's walk knows such a latent.
[[nodiscard]] Phrase why_not_walked(const FamilyTraits& traits, const LatentShape& latent);

// What ComfyUI's estimate of a step takes for the latent's size, in cells.
[[nodiscard]] std::int64_t estimated_area(const FamilyTraits& traits, const LatentShape& latent,
                                          const std::vector<ConditionUse>& uses);

// What a step samples with, one list of conditions as ComfyUI runs them: without the negative ones
// where CFG is 1 and the sampler does not ask for them.
[[nodiscard]] std::vector<ConditionUse> conditions_of(const SampleStep& what);

// What ComfyUI's estimate of a VAE's step goes by.
struct VaeExtents {
    VaeExtent pixels;  // of a sound: samples
    VaeExtent cells;
};
[[nodiscard]] VaeExtents extents_of(const VaeStep& what, const Vae& vae);

// The tiles that the node asks for, or else those after running out of memory. Of a sound their
// widths are latents.
[[nodiscard]] std::vector<TileRun> tiles_of(const VaeStep& what, const Vae& vae);
// What a VAE that blends its tiles on the card keeps there, tile after tile; most blend in the
// system's memory.
[[nodiscard]] Bytes kept_beside_tiles(const VaeStep& what, const Vae& vae);

}  // namespace plimsoll::memory
