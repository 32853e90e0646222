// SPDX-License-Identifier: Apache-2.0
//
// The verbs of the node catalogue (workflow::NodeVerb) by subject. Each takes the node at hand,
// writes its step into the program where it has one, and says what comes out of the node.
#pragma once
#include "memory/built_models.h"
#include "memory/lowering/node_scope.h"
#include "memory/networks/vae.h"

namespace plimsoll::memory {

// Loaders, patches, nodes that hand their inputs on.
[[nodiscard]] Values lower_model_verb(NodeScope& scope, const BuiltModels& models);
// Texts and what is hung on them.
[[nodiscard]] Values lower_conditioning_verb(NodeScope& scope);
// Sizes of latents and images.
[[nodiscard]] Values lower_shape_verb(NodeScope& scope);
[[nodiscard]] Values lower_vae_verb(NodeScope& scope);
[[nodiscard]] Values lower_sampling_verb(NodeScope& scope);

// How the VAE at hand makes cells of pixels; the usual way where it is not known.
[[nodiscard]] VaeGrid grid_of(NodeScope& scope, const ModelValue& vae);
// The latent of images, or of a video where the VAE takes their list as one; in whole cells.
[[nodiscard]] LatentShape latent_of(const ImageShape& image, const VaeGrid& grid);
// Each output is the input that the catalogue names for it.
[[nodiscard]] Values handed_through(const NodeScope& scope);

}  // namespace plimsoll::memory
