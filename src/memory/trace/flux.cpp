// SPDX-License-Identifier: Apache-2.0
//
// Flux and the networks that share its blocks: Flux 2, LongCat-Image, Chroma.
#include "base/described.h"
#include "memory/networks/dit/chroma.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"
#include "modelfile/networks/flux_config.h"

#include <algorithm>
#include <array>
#include <charconv>
#include <string_view>
#include <system_error>
#include <utility>

namespace plimsoll::memory::trace {

namespace {

using modelfile::FluxConfig;

constexpr int kFlux2PixelsPerCell = 16;

// Which network a variant names, and how many reference images it was given.
struct FluxVariant {
    FluxConfig config;
    int references = 0;
};
Result<FluxVariant> flux_variant(const Question& q) {
    FluxVariant variant;
    std::string_view name = q.variant;
    variant.references = take_references(name);
    if (name == "schnell" && variant.references == 0) {
        variant.config.guidance_embed = false;
    } else if (name == "fill_inpaint" && variant.references == 0) {
        // The latent, the masked latent and a mask of 8 x 8 pixels.
        variant.config.in_channels = 96;
    } else if (variant.references > 0 ? name != "kontext"
                                      : !names_network(name, "dev") && !is_way_of_running(name)) {
        return unknown(q);
    }
    if (q.config != nullptr) TRY_DO(read_described(*q.config, variant.config));
    return variant;
}

Result<Walk> answer(const Question& q, const FluxConfig& config, StepCall call) {
    TRY_ASSIGN(const auto flux, build_flux(config));
    return answer_step(q, *flux, call);
}

Result<FluxConfig> flux2_config(const Question& q, std::string_view variant) {
    constexpr auto kNames = std::to_array<std::pair<std::string_view, std::string_view>>(
        {{"dev", "flux2_dev"}, {"klein_4B", "flux2_klein_4b"}, {"klein_9B", "flux2_klein_9b"}});
    for (const auto& [network, name] : kNames)
        if (names_network(variant, network)) return modelfile::known_denoiser<FluxConfig>(name);
    // Which of them it is, the line's own arguments tell.
    if (q.config != nullptr && is_way_of_running(variant))
        return modelfile::known_denoiser<FluxConfig>("flux2_dev");
    return unknown(q);
}

// "... 2 reference latents 1024x1536" in a line's note, in pixels; else the images are of the
// result's own size.
struct Pixels {
    int width = 0;
    int height = 0;
};
Pixels reference_size(const Question& q) {
    constexpr std::string_view kBefore = "reference latents ";
    const Pixels own{q.width, q.height};
    const auto at = q.note.find(kBefore);
    if (at == std::string::npos) return own;
    Pixels read;
    const char* const end = q.note.data() + q.note.size();
    const auto width = std::from_chars(q.note.data() + at + kBefore.size(), end, read.width);
    if (width.ec != std::errc() || width.ptr == end || *width.ptr != 'x') return own;
    const auto height = std::from_chars(width.ptr + 1, end, read.height);
    const auto sound = [](int pixels) {
        return pixels >= kFlux2PixelsPerCell && pixels <= kPixelsMax;
    };
    return height.ec == std::errc() && sound(read.width) && sound(read.height) ? read : own;
}

}  // namespace

Result<Walk> answer_flux(const Question& q) {
    TRY_ASSIGN(const FluxVariant variant, flux_variant(q));
    TRY_ASSIGN(StepCall call, step_call(q));
    for (int i = 0; i < variant.references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer(q, variant.config, std::move(call));
}

Result<Walk> answer_flux2(const Question& q) {
    constexpr int kTokensMin = 512;  // ComfyUI pads shorter texts
    std::string_view name = q.variant;
    const int references = take_references(name);
    constexpr std::string_view kEdit = "_edit";
    if (references > 0 && !name.ends_with(kEdit)) return unknown(q);
    if (references > 0) name.remove_suffix(kEdit.size());
    TRY_ASSIGN(FluxConfig config, flux2_config(q, name));
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    if (q.width < kFlux2PixelsPerCell || q.height < kFlux2PixelsPerCell)
        return fail(Errc::InvalidInput, "width and height must be at least 16");
    TRY_ASSIGN(StepCall call, step_call(q));
    call.latent_width = q.width / kFlux2PixelsPerCell;
    call.latent_height = q.height / kFlux2PixelsPerCell;
    call.tokens = std::max(call.tokens, kTokensMin);
    const Pixels reference = reference_size(q);
    for (int i = 0; i < references; ++i)
        call.references.push_back(
            {1, reference.height / kFlux2PixelsPerCell, reference.width / kFlux2PixelsPerCell});
    return answer(q, config, std::move(call));
}

Result<Walk> answer_longcat_image(const Question& q) {
    TRY_ASSIGN(FluxConfig config, modelfile::known_denoiser<FluxConfig>("longcat_image"));
    if (!names_network(q.variant, "6B") && !is_way_of_running(q.variant)) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(StepCall call, step_call(q));
    return answer(q, config, std::move(call));
}

Result<Walk> answer_chroma(const Question& q) {
    modelfile::ChromaConfig config;
    if (!is_way_of_running(q.variant)) return unknown(q);
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto chroma, build_chroma(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    return answer_step(q, *chroma, call);
}

}  // namespace plimsoll::memory::trace
