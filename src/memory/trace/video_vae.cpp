// SPDX-License-Identifier: Apache-2.0
#include "base/described.h"
#include "memory/networks/vae/hunyuan_vae.h"
#include "memory/networks/vae/minimax_vae.h"
#include "memory/networks/vae/pixel_vae.h"
#include "memory/networks/vae/temporal_vae.h"
#include "memory/trace/answers.h"
#include "modelfile/architectures.h"

#include <fmt/format.h>

#include <cstdint>
#include <string_view>

namespace plimsoll::memory::trace {

namespace {

VaeCall video_call(const Question& q) {
    return {.batch = q.batch,
            .frames = q.frames,
            .height = q.height,
            .width = q.width,
            .compute = q.types.compute,
            .storage = q.types.storage,
            .rules = q.rules};
}

// Chosen: 8000 frames of 1920 x 1080. Attention, which is quadratic in the cells, stays countable.
constexpr std::int64_t kPixelsTogetherMax = std::int64_t{1} << 34;

Result<void> check_pixels(const Question& q, std::int64_t pixels_per_cell) {
    if (q.width < pixels_per_cell || q.height < pixels_per_cell)
        return fail(Errc::InvalidInput,
                    fmt::format("width and height must be at least {}", pixels_per_cell));
    const std::int64_t pixels = std::int64_t{q.batch} * q.frames * q.height * q.width;
    if (pixels > kPixelsTogetherMax)
        return fail(Errc::LimitExceeded, fmt::format("{} pixels of all frames together, limit {}",
                                                     pixels, kPixelsTogetherMax));
    return {};
}

// A tile is a small video of its own.
bool is_whole_or_tile(std::string_view variant) {
    return variant == "full" || variant.starts_with("tile_");
}

}  // namespace

Result<Walk> answer_hunyuan_video_vae(const Question& q) {
    if (!is_whole_or_tile(q.variant)) return unknown(q);
    modelfile::HunyuanVideoVaeConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto vae, build_hunyuan_vae(config));
    TRY_DO(check_pixels(q, vae->downscale()));
    return q.phase == "vae_decode" ? vae->simulate_decode(video_call(q))
                                   : vae->simulate_encode(video_call(q));
}

Result<Walk> answer_pixel_vae(const Question& q) {
    if (!is_whole_or_tile(q.variant)) return unknown(q);
    constexpr std::string_view kVae = "vae_";  // before the catalogue's names
    TRY_ASSIGN(auto config, modelfile::known_vae_as<modelfile::PixelVaeConfig>(
                                std::string_view(q.family).substr(kVae.size())));
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto vae, build_pixel_vae(config));
    if (!vae->knows(video_call(q))) return unknown(q);
    TRY_DO(check_pixels(q, config.ffactor_spatial));
    return q.phase == "vae_decode" ? vae->simulate_decode(video_call(q))
                                   : vae->simulate_encode(video_call(q));
}

Result<Walk> answer_minimax_vae(const Question& q) {
    if (!is_way_of_running(q.variant)) return unknown(q);
    modelfile::MiniMaxVaeConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto vae, build_minimax_vae(config));
    if (!vae->knows(video_call(q))) return unknown(q);
    TRY_DO(check_pixels(q, vae->grid().pixels_per_cell));
    return q.phase == "vae_decode" ? vae->simulate_decode(video_call(q))
                                   : vae->simulate_encode(video_call(q));
}

// Stable Video Diffusion's: all frames of one video in one batch.
Result<Walk> answer_svd_vae(const Question& q) {
    if (q.variant != "temporal_decoder" || q.batch > 1 || q.rules.comfyui_minor_key >= kComfy033)
        return unknown(q);
    constexpr int kPixelsPerCell = 8;
    TRY_DO(check_pixels(q, kPixelsPerCell));
    const TemporalVaeNetwork vae;
    return vae.simulate_decode(video_call(q));
}

}  // namespace plimsoll::memory::trace
