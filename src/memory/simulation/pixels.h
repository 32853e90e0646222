// SPDX-License-Identifier: Apache-2.0
//
// What image encoders and upscalers do with the pixels or the latent of a step: how they resize or
// cut them, and what computing takes.
#pragma once
#include "memory/networks/upscale/latent_upscaler.h"
#include "memory/networks/upscale/upscaler.h"
#include "memory/networks/vision/clip_vision.h"
#include "memory/networks/vision/image_reader.h"
#include "memory/simulation/activity.h"

#include <functional>

namespace plimsoll::memory {

// All images at once. They come to the card whole and are resized there.
[[nodiscard]] Activity image_encode_activity(const ClipVisionNetwork& network,
                                             const ImageShape& image, const Types& types,
                                             const ForwardRules& rules);

// As many at once as the network's node takes; its costs are those of one forward.
[[nodiscard]] Activity reading_activity(const ImageReader& network, const LookStep& step,
                                        const Types& types, const ForwardRules& rules);

// What ComfyUI's node believes that enlarging takes, weights not counted.
[[nodiscard]] double upscale_estimate(const Upscaler& network, const ImageShape& image);

// Enlarging runs in tiles, which are halved where one does not fit.
struct UpscalePlan {
    Activity activity;
    Activity failed;  // the largest attempt that had no room; without forwards where there was none
    int tile = 512;   // pixels
    bool fits = true;  // false: not even the smallest tile does; `activity` is that one's
};
using HasRoom = std::function<bool(const Activity&)>;
[[nodiscard]] UpscalePlan plan_upscale(const Upscaler& network, const ImageShape& image,
                                       const ForwardRules& rules, const HasRoom& has_room);

// All of a latent at once.
[[nodiscard]] Activity latent_upscale_activity(const LatentUpscaler& network,
                                               const LatentShape& latent, const Types& types,
                                               const ForwardRules& rules);
// What ComfyUI's node believes that it takes, weights not counted.
[[nodiscard]] double latent_upscale_estimate(const LatentShape& latent);

// Releases from this one keep upscalers of images and of latents as ones of their models; before,
// they came to the card for their nodes alone (ComfyUI pull request 15063).
inline constexpr ComfyVersion kUpscalerIsManaged{.major = 0, .minor = 29, .patch = 0};

}  // namespace plimsoll::memory
