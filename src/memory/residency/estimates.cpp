// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/estimates.h"

#include <algorithm>
#include <array>
#include <cmath>
#include <numeric>

namespace plimsoll::memory {

namespace {

constexpr double kMib = 1024.0 * 1024.0;
// MiB for a latent cell and byte of an element, and for a cell where scores are kept (ComfyUI
// 0.3.64, BaseModel.memory_required).
constexpr double kLinearMib = 0.01;
constexpr double kQuadraticMib = 0.15;
// Elements for a pixel that AutoencoderKL decodes and encodes (ComfyUI 0.3.64, VAE).
constexpr double kDecodeElements = 2178;
constexpr double kEncodeElements = 1767;
constexpr int kPixelsPerCell = 8 * 8;
constexpr int kRepeatMax = 4;
// Elements for a pixel that the other VAEs take are in the functions below, from the same tables.
constexpr std::int64_t kFewFrames = 4;
// Elements for a pixel and frame of MiniMax-H3's clips (ComfyUI of August 2026).
constexpr double kMiniMaxElements = 9.5;
constexpr double kMiniMaxMargin = 1.03;
constexpr double kMiniMaxSamples = 800;  // of a latent of its sound
// Elements for a sample of Oobleck's sound, whatever its strides.
constexpr double kSoundElements = 1000;
constexpr double kOobleckSamples = 2048;
// Of Stable Audio 3's larger VAE (ComfyUI 0.33.0).
constexpr double kStableAudio3Elements = 1500;
constexpr double kStableAudio3Samples = 4096;

// Of pixels, where four share a cell of time but for the first.
std::int64_t frames_of(const VaeExtent& latent) {
    return 4 * (latent.frames - 1) + 1;
}

bool can_share(const Condition& a, const Condition& b) {
    if (a.control_id != b.control_id) return false;
    return a.tokens == b.tokens ||
           std::lcm(a.tokens, b.tokens) / std::min(a.tokens, b.tokens) <= kRepeatMax;
}

}  // namespace

AttentionMemory attention_memory(const LaunchFlags& flags) {
    return flags.split_or_quad_attention ? AttentionMemory::Quadratic : AttentionMemory::Linear;
}

double SamplingEstimate::bytes(std::int64_t area) const {
    const auto cells = static_cast<double>(area);
    if (attention == AttentionMemory::Quadratic) return cells * kQuadraticMib * factor * kMib;
    return cells * static_cast<double>(element_bytes) * kLinearMib * factor * kMib;
}

std::int64_t latent_area(const LatentShape& latent) {
    return static_cast<std::int64_t>(latent.batch) * latent.frames * latent.height * latent.width;
}

double vae_decode_estimate(VaeKind kind, const VaeExtent& latent, ComputeType compute,
                           const ComfyVersion& version) {
    const auto cells = static_cast<double>(latent.height * latent.width);
    const double element = static_cast<double>(bytes_per_element(compute));
    switch (kind) {
        case VaeKind::Wan21: {
            // It streams frames; a few of them need no cache since the newer table.
            const bool few = version >= kNewerTables && latent.frames <= kFewFrames;
            return (few ? 2200 : 7000) * cells * kPixelsPerCell * element;
        }
        case VaeKind::Wan22:
            return 8000 * cells * (16 * 16) * element;
        case VaeKind::HunyuanVideo:
            if (version >= kNewerTables)
                return 2800 * static_cast<double>(std::min<std::int64_t>(8, frames_of(latent))) *
                       cells * kPixelsPerCell * element;
            return 1500 * static_cast<double>(latent.frames) * cells * (4 * kPixelsPerCell) *
                   element;
        case VaeKind::HunyuanVideo15:
            if (version >= kNewerTables) return 3600 * 4 * cells * (16 * 16) * element;
            return 2800 * static_cast<double>(latent.frames) * cells * (16 * 16) * element;
        case VaeKind::HunyuanImage:
            return 700 * cells * (32 * 32) * element;
        case VaeKind::Ltx:
            return (version >= kNewerTables ? 1200 : 900) * static_cast<double>(latent.frames) *
                   cells * (8 * kPixelsPerCell) * element;
        case VaeKind::LtxSound:
            return 87000 * cells * element;
        case VaeKind::MiniMaxSound: {
            const auto samples = static_cast<double>(latent.width) * kMiniMaxSamples;
            return std::max(42e6, 220 * samples + 20e6) * element * kMiniMaxMargin;
        }
        case VaeKind::Seedvr2:
            // Of a transfer of colours that the decoder no longer makes; in no type.
            return 160 * static_cast<double>(frames_of(latent)) * cells * kPixelsPerCell;
        case VaeKind::Cosmos1:
            return 50 * static_cast<double>(latent.frames) * cells * (8 * kPixelsPerCell) * element;
        case VaeKind::PixelSpace:
            return cells * element;
        case VaeKind::Mage:
            // Its table was not read: AutoencoderKL's for as many pixels.
            return kDecodeElements * cells * (16 * 16) * element;
        case VaeKind::LtxDiffusion:
            // Neither: the one of LTX's other VAEs.
            return 1200 * static_cast<double>(latent.frames) * cells * (8 * kPixelsPerCell) *
                   element;
        case VaeKind::Flux2:
            return 4 * kDecodeElements * cells * kPixelsPerCell * element;
        case VaeKind::MiniMaxH3: {
            // One clip and two frames more are ever there; short videos are one clip.
            const std::int64_t frames = latent.frames <= 1 ? 1 : (latent.frames - 2) / 5 * 17 + 5;
            const double fixed = frames <= 22 ? 110e6 : 270e6;
            const auto together = static_cast<double>(std::min<std::int64_t>(frames, 28 + 2));
            return (kMiniMaxElements * together * cells * (16 * 16) + fixed) * element *
                   kMiniMaxMargin;
        }
        case VaeKind::Oobleck:
            return kSoundElements * kOobleckSamples * cells * element;
        case VaeKind::MusicDcae:
            return 87'000 * cells * element;
        case VaeKind::MiniMaxMusic: {
            constexpr double kSamples = 512;  // of a latent
            constexpr double kFixed = 800e6;
            return (kSamples * 1400 * cells + kFixed) * element;
        }
        case VaeKind::StableAudio3:
            return kStableAudio3Elements * kStableAudio3Samples * cells * element;
        case VaeKind::AutoencoderKl:
            break;
    }
    return kDecodeElements * cells * kPixelsPerCell * element;
}

double vae_encode_estimate(VaeKind kind, const VaeExtent& pixels, ComputeType compute,
                           const ComfyVersion& version) {
    const auto area = static_cast<double>(pixels.height * pixels.width);
    const double element = static_cast<double>(bytes_per_element(compute));
    switch (kind) {
        case VaeKind::Wan21: {
            const bool few = version >= kNewerTables && pixels.frames <= kFewFrames;
            return (few ? 1500 : 6000) * area * element;
        }
        case VaeKind::Wan22:
            return 3300 * area * element;
        case VaeKind::HunyuanVideo: {
            const auto frames = static_cast<double>(pixels.frames);
            if (version >= kNewerTables) return 1400 * std::min(9.0, frames) * area * element;
            return 900 * std::max(2.0, frames) * area * element;
        }
        case VaeKind::HunyuanVideo15:
            return (version >= kNewerTables ? 1400 * 9 : 2800) * area * element;
        case VaeKind::HunyuanImage:
            return 700 * area * element;
        case VaeKind::MiniMaxH3: {
            const bool image = pixels.frames == 1;
            const auto clip = static_cast<double>(std::min<std::int64_t>(pixels.frames, 17));
            return ((image ? 7 : kMiniMaxElements) * clip * area + (image ? 110e6 : 1300e6)) *
                   element * kMiniMaxMargin;
        }
        case VaeKind::Oobleck:
            return kSoundElements * area * element;
        case VaeKind::MusicDcae:
        case VaeKind::LtxSound:
            return 330 * area * element;
        case VaeKind::Ltx:
        case VaeKind::LtxDiffusion: {
            constexpr double kFramesMin = 7;
            return (version >= kNewerTables ? 80 : 70) *
                   std::max(kFramesMin, static_cast<double>(pixels.frames)) * area * element;
        }
        case VaeKind::Cosmos1: {
            // Whole cells of time, halves to the even one.
            const double times = std::nearbyint(static_cast<double>(pixels.frames + 7) / 8);
            return 50 * times * 8 * area * element;
        }
        case VaeKind::PixelSpace:
            return area * element;
        case VaeKind::StableAudio3:
            return kStableAudio3Elements * area * element;
        case VaeKind::MiniMaxMusic:  // it has no encoder
        case VaeKind::MiniMaxSound:  // by samples; its encoder is not simulated
        case VaeKind::Seedvr2:       // not read: AutoencoderKL's, of one frame
        case VaeKind::Mage:
        case VaeKind::Flux2:
        case VaeKind::AutoencoderKl:
            break;
    }
    return kEncodeElements * area * element;
}

std::span<const ComputeType> vae_types(VaeKind kind) {
    static constexpr std::array kKl = {ComputeType::BFloat16, ComputeType::Float32};
    static constexpr std::array kVideo = {ComputeType::BFloat16, ComputeType::Float16,
                                          ComputeType::Float32};
    static constexpr std::array kHalfFirst = {ComputeType::Float16, ComputeType::BFloat16,
                                              ComputeType::Float32};
    static constexpr std::array kMiniMax = {ComputeType::Float16, ComputeType::Float32};
    static constexpr std::array kSingle = {ComputeType::Float32};
    switch (kind) {
        case VaeKind::MiniMaxH3:
            return kMiniMax;
        case VaeKind::LtxSound:
        case VaeKind::MiniMaxSound:
        case VaeKind::MiniMaxMusic:
            return kSingle;
        case VaeKind::StableAudio3:
            return kVideo;  // the same three
        case VaeKind::AutoencoderKl:
        case VaeKind::Flux2:
        case VaeKind::Ltx:
        case VaeKind::LtxDiffusion:
        case VaeKind::Cosmos1:
        case VaeKind::Mage:
        case VaeKind::PixelSpace:
            return kKl;
        default:
            break;
    }
    if (kind == VaeKind::HunyuanVideo15 || kind == VaeKind::HunyuanImage ||
        kind == VaeKind::Oobleck)
        return kHalfFirst;
    return kVideo;
}

int vae_batch(double free_bytes, double estimate) {
    constexpr double kImagesMax = 1 << 20;  // chosen: more than any batch
    return static_cast<int>(std::clamp(free_bytes / estimate, 1.0, kImagesMax));
}

std::vector<ForwardGroup> group_conditions(std::span<const Condition> conditions, std::int64_t area,
                                           const SamplingEstimate& estimate, double free_bytes) {
    std::vector<ForwardGroup> groups;
    std::vector<int> waiting(conditions.size());
    std::iota(waiting.begin(), waiting.end(), 0);
    while (!waiting.empty()) {
        const Condition& first = conditions[static_cast<std::size_t>(waiting.front())];
        std::vector<int> sharing;
        for (const int index : waiting)
            if (can_share(first, conditions[static_cast<std::size_t>(index)]))
                sharing.push_back(index);
        std::reverse(sharing.begin(), sharing.end());
        std::size_t take = 1;
        for (std::size_t parts = 1; parts <= sharing.size(); ++parts) {
            const std::size_t together = sharing.size() / parts;
            const auto cells = static_cast<std::int64_t>(together) * area;
            if (estimate.bytes(cells) * kForwardMargin >= free_bytes) continue;
            take = together;
            break;
        }
        ForwardGroup group;
        group.conditions.assign(sharing.begin(),
                                sharing.begin() + static_cast<std::ptrdiff_t>(take));
        group.tokens = 1;
        for (const int index : group.conditions) {
            group.tokens =
                std::lcm(group.tokens, conditions[static_cast<std::size_t>(index)].tokens);
            std::erase(waiting, index);
        }
        groups.push_back(std::move(group));
    }
    return groups;
}

}  // namespace plimsoll::memory
