// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/pixels.h"

#include <algorithm>
#include <cmath>

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kColours = 3;
constexpr std::int64_t kPixelBytes = 4;  // ComfyUI's images are fp32

Bytes image_bytes(std::int64_t images, std::int64_t height, std::int64_t width) {
    return Bytes(images * height * width * kColours * kPixelBytes);
}

// The images as they came, a contiguous copy, the smaller ones and their copy in the layout of the
// images: PyTorch's kernel for antialiased resizing takes and gives contiguous tensors only. The
// shorter side becomes the network's, the rest is cropped afterwards.
Bytes resizing_bytes(const ImageShape& image, int side) {
    const Bytes whole = image_bytes(image.batch, image.height, image.width);
    if (image.height == side && image.width == side) return whole;
    const double scale = static_cast<double>(side) / std::min(image.height, image.width);
    const Bytes smaller = image_bytes(image.batch, std::llround(scale * image.height),
                                      std::llround(scale * image.width));
    return whole + whole + smaller + smaller;
}

}  // namespace

Activity image_encode_activity(const ClipVisionNetwork& network, const ImageShape& image,
                               const Types& types, const ForwardRules& rules) {
    ClipVisionCall call{.batch = image.batch,
                        .storage = types.storage,
                        .compute = types.compute,
                        .rules = {},
                        .every_layer = network.config().projection == 0};
    Activity activity = walk_in_types(types, rules, [&](const ForwardRules& with) {
        call.rules = with;
        return simulate_image_encode(network, call);
    });
    const Bytes resizing = resizing_bytes(image, network.config().image);
    if (resizing <= activity.activations + activity.cast) return activity;
    activity.activations = resizing;
    activity.cast = {};
    activity.peak_module = {};
    activity.peak_op = "upsample_bicubic2d_aa";
    activity.top_live.clear();
    return activity;
}

Activity reading_activity(const ImageReader& network, const LookStep& step, const Types& types,
                          const ForwardRules& rules) {
    ReaderCall call{.batch = step.image.batch,
                    .height = step.image.height,
                    .width = step.image.width,
                    .at_once = step.at_once,
                    .side = step.side,
                    .shorter_side = step.shorter_side,
                    .detail = step.detail,
                    .refinements = step.refinements,
                    .has_text = step.has_text,
                    .storage = types.storage,
                    .compute = types.compute,
                    .rules = {}};
    Activity activity = walk_in_types(types, rules, [&](const ForwardRules& with) {
        call.rules = with;
        return simulate_reading(network, call);
    });
    activity.held_per_tensor = kHeldPerTensorOfPixels;
    activity.forwards = network.forwards(call);
    return activity;
}

double upscale_estimate(const Upscaler& network, const ImageShape& image) {
    constexpr double kTile = 512.0 * 512.0 * kColours * kPixelBytes;
    constexpr double kFactor = 384;  // ComfyUI's own
    return kTile * kFactor * std::max(1, network.scale()) +
           static_cast<double>(image_bytes(image.batch, image.height, image.width).count);
}

namespace {

constexpr int kTile = 512;     // pixels, as the node begins
constexpr int kTileMin = 128;  // below, it gives up
constexpr int kOverlap = 32;

Activity in_tiles(const Upscaler& network, const ImageShape& image, int tile,
                  const ForwardRules& rules) {
    // Of one image; the others are cut alike.
    const std::vector<TileRun> runs = video_tiles(1, {.height = image.height, .width = image.width},
                                                  {.tile = tile, .overlap = kOverlap});
    std::vector<TileRun> sizes;
    for (const TileRun& run : runs) {
        const auto known = std::ranges::find(sizes, run.size, &TileRun::size);
        if (known == sizes.end())
            sizes.push_back(run);
        else
            known->count += run.count;
    }
    Activity activity;
    activity.held_per_tensor = kHeldPerTensorOfPixels;
    for (const TileRun& run : sizes) {
        Walk walk = simulate_upscale(
            network, {.height = run.size.height, .width = run.size.width, .rules = rules});
        // A tile is a view of the images, which are on the card whole.
        walk.input = image_bytes(image.batch, image.height, image.width);
        activity.then(walk, walk, std::int64_t{run.count} * image.batch);
    }
    return activity;
}

}  // namespace

UpscalePlan plan_upscale(const Upscaler& network, const ImageShape& image,
                         const ForwardRules& rules, const HasRoom& has_room) {
    UpscalePlan plan;
    for (plan.tile = kTile;; plan.tile /= 2) {
        plan.activity = in_tiles(network, image, plan.tile, rules);
        plan.fits = has_room(plan.activity);
        if (plan.fits || plan.tile / 2 < kTileMin) return plan;
        if (plan.failed.forwards == 0) plan.failed = plan.activity;
    }
}

Activity latent_upscale_activity(const LatentUpscaler& network, const LatentShape& latent,
                                 const Types& types, const ForwardRules& rules) {
    LatentUpscaleCall call{.batch = latent.batch,
                           .frames = latent.frames,
                           .height = latent.height,
                           .width = latent.width,
                           .compute = types.compute,
                           .rules = {}};
    Activity activity = walk_in_types(types, rules, [&](const ForwardRules& with) {
        call.rules = with;
        return simulate_latent_upscale(network, call);
    });
    activity.held_per_tensor = kHeldPerTensorOfVideo;
    return activity;
}

double latent_upscale_estimate(const LatentShape& latent) {
    constexpr double kPerElement = 3000;  // ComfyUI's own, bytes
    return kPerElement * latent.batch * latent.channels * latent.frames * latent.height *
           latent.width;
}

}  // namespace plimsoll::memory
