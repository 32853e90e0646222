// SPDX-License-Identifier: Apache-2.0
//
// Patches that put tensors of their own into a UNet's forward: FreeU's Fourier filter of the skips,
// the scores that self-attention guidance keeps, token merging's. The walk is the same; what they
// add is put on top of what lives at that moment.
//
// Sources: ComfyUI's nodes_freelunch, nodes_sag and nodes_tomesd (facts only).
#pragma once
#include "memory/networks/walk.h"
#include "memory/program.h"

namespace plimsoll::memory {

// Whether any of them changes what a forward of this network takes.
[[nodiscard]] bool patches_forward(const modelfile::DenoiserConfig& config,
                                   const SamplingPatches& patches);

// simulate_step with them; `call` has no observer.
[[nodiscard]] Walk simulate_patched_step(const Denoiser& model, const modelfile::UnetConfig& config,
                                         const SamplingPatches& patches, StepCall call);

}  // namespace plimsoll::memory
