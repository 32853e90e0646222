// SPDX-License-Identifier: Apache-2.0
//
// The verbs of the node catalogue (workflow::NodeVerb) by subject. Each takes the node at hand,
// writes its step into the program where it has one, and says what comes out of the node.
#pragma once
#include "memory/built_models.h"
#include "memory/input_media.h"
#include "memory/lowering/node_scope.h"
#include "memory/networks/vae.h"

#include <optional>
#include <vector>

namespace plimsoll::memory {

// Loaders and patches of networks.
[[nodiscard]] Values lower_model_verb(NodeScope& scope, const BuiltModels& models);
// An image, a video or a sound of the server's; a usual size where it is not known.
[[nodiscard]] Values lower_media_verb(NodeScope& scope, const InputMedia& media);
// Texts and what is hung on them.
[[nodiscard]] Values lower_conditioning_verb(NodeScope& scope);
[[nodiscard]] Values lower_vae_verb(NodeScope& scope);
[[nodiscard]] Values lower_sampling_verb(NodeScope& scope);
[[nodiscard]] Values lower_upscale_verb(NodeScope& scope);
[[nodiscard]] Values lower_latent_upscale_verb(NodeScope& scope);

// --- what verbs share ---------------------------------------------------------------------------

// By slot, as the catalogue describes it, references that the node adds included.
[[nodiscard]] Values make_outputs(NodeScope& scope);
[[nodiscard]] std::optional<ImageShape> make_image(NodeScope& scope,
                                                   const workflow::MadeShape& made);
// Hangs latents of images onto every conditioning.
void refer_to(Values& values, const std::vector<LatentShape>& references);
// The pixels that the node encodes itself, each a step; false (and why) where one cannot be known.
[[nodiscard]] bool run_encodes(NodeScope& scope, std::vector<LatentShape>& encoded);
// The images that the node's CLIP vision encodes, each a step; false (and why) where one cannot be
// known.
[[nodiscard]] bool run_image_encodes(NodeScope& scope);
// One more value that may come out of a node that is not understood.
void pass_on(PassedOn& through, const Value& value);

enum class Tiled : std::uint8_t { No, Yes };
// A step of the VAE's encoder; nullopt (and why) for an image smaller than a cell.
[[nodiscard]] std::optional<LatentShape> encode_pixels(NodeScope& scope, const ModelValue& vae,
                                                       const ImageShape& pixels,
                                                       const VaeGrid& grid, Tiled tiled);
// How the VAE at hand makes cells of these pixels; the usual way where it is not known.
[[nodiscard]] VaeGrid grid_of(const NodeScope& scope, const ModelValue& vae,
                              const ImageShape& image);
// The latent of images, or of a video where the VAE takes their list as one; in whole cells.
[[nodiscard]] LatentShape latent_of(const ImageShape& image, const VaeGrid& grid);

}  // namespace plimsoll::memory
