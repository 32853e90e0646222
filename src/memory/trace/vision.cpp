// SPDX-License-Identifier: Apache-2.0
//
// What sees or draws pixels beside denoisers and large VAEs: image encoders, upscalers, previews.
#include "memory/networks/taesd.h"
#include "memory/networks/upscale/upscaler.h"
#include "memory/networks/vision/clip_vision.h"
#include "memory/networks/vision/qwen_vision.h"
#include "memory/trace/answers.h"
#include "memory/trace/text_question.h"

#include <array>

namespace plimsoll::memory::trace {

namespace {

struct NamedVision {
    std::string_view family;
    ClipVisionConfig config;
};

// As published: OpenAI's ViT-L, LAION's ViT-H and ViT-bigG, Google's shape-optimised SigLIP.
std::array<NamedVision, 4> named_visions() {
    const ClipVisionConfig base;
    ClipVisionConfig h = base;
    h.hidden = 1280;
    h.intermediate = 5120;
    h.layers = 32;
    h.projection = 1024;
    h.quick_gelu = false;
    ClipVisionConfig g = h;
    g.hidden = 1664;
    g.intermediate = 8192;
    g.layers = 48;
    g.projection = 1280;
    ClipVisionConfig siglip = h;
    siglip.image = 384;
    siglip.hidden = 1152;
    siglip.intermediate = 4304;
    siglip.layers = 27;
    siglip.projection = 0;
    return {{{"clip_vision_vitl", base},
             {"clip_vision_h", h},
             {"clip_vision_g", g},
             {"siglip_384", siglip}}};
}

}  // namespace

// ComfyUI resizes every image to the network's size and computes in fp32. ComfyUI 0.33 is not
// recorded; its encoder layers are those of CLIP's text half, whose recordings of both versions are
// equal, and what stands around them is the same too.
Result<Walk> answer_clip_vision(const Question& q) {
    if (!names_types(q.variant)) return unknown(q);
    for (const NamedVision& known : named_visions()) {
        if (known.family != q.family) continue;
        const bool resized = q.width != known.config.image || q.height != known.config.image;
        if (resized) return unknown(q);
        TRY_ASSIGN(const auto network, build_clip_vision(known.config));
        const TextCall call = text_call(q);
        return simulate_image_encode(
            *network,
            {.batch = q.batch, .storage = call.storage, .compute = call.compute, .rules = q.rules});
    }
    return unknown(q);
}

// The tower alone, on one image.
Result<Walk> answer_qwen_vision(const Question& q) {
    const bool known = names_types(q.variant) && q.batch == 1 && q.config == nullptr &&
                       !q.types.scaled_fp8 && q.rules.comfyui_minor_key < kComfy033;
    if (!known) return unknown(q);
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto network, build_qwen_vision({}));
    const TextCall call = text_call(q);
    return simulate_image_encode(*network, {.grid = qwen_patch_grid(q.height, q.width),
                                            .storage = call.storage,
                                            .compute = call.compute,
                                            .rules = q.rules});
}

Result<Walk> answer_esrgan(const Question& q) {
    const bool known =
        q.variant == "rrdb23_x4" && q.types.storage == q.types.compute && q.config == nullptr;
    if (!known) return unknown(q);
    if (q.width < 1 || q.height < 1)
        return fail(Errc::InvalidInput, "width and height must be at least 1");
    TRY_ASSIGN(const auto network, build_upscaler(modelfile::RrdbConfig{}));
    return simulate_upscale(*network, {.batch = q.batch,
                                       .height = q.height,
                                       .width = q.width,
                                       .compute = q.types.compute,
                                       .rules = q.rules});
}

Result<Walk> answer_taesd(const Question& q) {
    constexpr std::int64_t kChannels4 = 4;
    constexpr std::int64_t kChannels16 = 16;
    const bool known =
        q.variant == "full" && q.types.storage == q.types.compute && q.config == nullptr;
    if (!known) return unknown(q);
    TRY_DO(check_size(q));
    TRY_ASSIGN(const auto vae, build_taesd(q.family == "taesd16" ? kChannels16 : kChannels4));
    return vae->simulate_decode({.batch = q.batch,
                                 .height = q.height,
                                 .width = q.width,
                                 .compute = q.types.compute,
                                 .storage = q.types.storage,
                                 .rules = q.rules});
}

}  // namespace plimsoll::memory::trace
