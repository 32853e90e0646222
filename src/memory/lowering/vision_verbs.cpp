// SPDX-License-Identifier: Apache-2.0
//
// What sees or enlarges pixels or latents: CLIP vision and upscale models.
#include "base/say.h"
#include "memory/lowering/verbs.h"
#include "memory/networks/upscale/latent_upscaler.h"
#include "memory/networks/upscale/upscaler.h"

#include <fmt/format.h>

#include <array>

namespace plimsoll::memory {

namespace {

// Where the file was not seen: how its name usually says it ("4x-UltraSharp", "RealESRGAN_x2plus"),
// and else four, which most enlarge by.
int usual_scale(NodeScope& scope, const ProgramModel& model) {
    constexpr int kUsual = 4;
    const std::string name = model.files.empty() ? std::string() : model.files.front();
    for (const int scale : {8, 4, 3, 2, 1})
        for (const std::string& said : {fmt::format("{}x", scale), fmt::format("x{}", scale),
                                        fmt::format("{}X", scale), fmt::format("X{}", scale)})
            if (name.find(said) != std::string::npos) return scale;
    scope.note(say<"taken.scale">(name, kUsual));
    return kUsual;
}

}  // namespace

bool run_image_encodes(NodeScope& scope) {
    for (const std::string& input : scope.kind().sees) {
        if (!scope.is_linked(input)) continue;
        const std::string_view role = scope.kind().input_of("clip_vision");
        // A node may go without; only what is connected sees.
        if (!scope.is_linked(role)) continue;
        const auto* vision = scope.get<ModelValue>(role);
        const ImageShape* image = vision == nullptr ? nullptr : scope.look_pixels(input);
        if (image == nullptr) {
            if (vision != nullptr) (void)scope.get<ImageShape>(input);  // says why
            return false;
        }
        scope.step(ImageEncodeStep{.clip_vision = vision->use, .image = *image});
    }
    return true;
}

Values lower_upscale_verb(NodeScope& scope) {
    const auto* upscaler = scope.get<ModelValue>("upscale_model");
    const ImageShape* image = upscaler == nullptr ? nullptr : scope.look_pixels("image");
    if (image == nullptr) {
        if (upscaler != nullptr) (void)scope.get<ImageShape>("image");  // says why
        return {scope.unknown_step()};
    }
    const ProgramModel& model =
        scope.program().models[static_cast<std::size_t>(upscaler->use.model)];
    const bool known = model.known() && !model.built.empty() && model.built.front()->upscaler;
    const int scale = known ? model.built.front()->upscaler->scale() : usual_scale(scope, model);
    ImageShape larger = *image;
    larger.height = clamped(static_cast<double>(image->height) * scale, 1, kSideMax);
    larger.width = clamped(static_cast<double>(image->width) * scale, 1, kSideMax);
    scope.step(UpscaleStep{.upscaler = upscaler->use, .image = *image});
    return {{larger}};
}

Values lower_latent_upscale_verb(NodeScope& scope) {
    const auto* upscaler = scope.get<ModelValue>("upscale_model");
    const auto* latent = upscaler == nullptr ? nullptr : scope.get<LatentShape>("samples");
    if (latent == nullptr) return {scope.unknown_step()};
    const ProgramModel& model =
        scope.program().models[static_cast<std::size_t>(upscaler->use.model)];
    LatentExtent extent{.frames = latent->frames, .height = latent->height, .width = latent->width};
    if (model.known() && !model.built.empty() && model.built.front()->latent_upscaler) {
        extent = model.built.front()->latent_upscaler->enlarged(extent);
    } else {
        scope.note(say<"taken.latent_twice">());
        extent.height *= 2;
        extent.width *= 2;
    }
    LatentShape larger = *latent;
    larger.frames = clamped(extent.frames, 1, kFramesMax);
    larger.height = clamped(extent.height, 1, kSideMax);
    larger.width = clamped(extent.width, 1, kSideMax);
    larger.kept = 0;  // its mask goes
    scope.step(LatentUpscaleStep{.upscaler = upscaler->use, .latent = *latent});
    return {{larger}};
}

}  // namespace plimsoll::memory
