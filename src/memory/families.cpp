// SPDX-License-Identifier: Apache-2.0
#include "memory/families.h"

#include "memory/networks/dit/kandinsky5.h"

#include <array>
#include <variant>

namespace plimsoll::memory {

namespace {

using modelfile::Family;

constexpr std::array kHalfFirst = {ComputeType::Float16, ComputeType::BFloat16,
                                   ComputeType::Float32};
constexpr std::array kBrainFirst = {ComputeType::BFloat16, ComputeType::Float16,
                                    ComputeType::Float32};
constexpr std::array kBrainOnly = {ComputeType::BFloat16, ComputeType::Float32};

constexpr LatentFormat kSd{4, 8, 1};
constexpr LatentFormat kFlux{16, 8, 1};
constexpr LatentFormat kFlux2{128, 16, 1};
constexpr LatentFormat kWan21{16, 8, 4};
constexpr LatentFormat kWan22{48, 16, 4};
constexpr LatentFormat kHunyuanVideo{16, 8, 4};
constexpr LatentFormat kHunyuanVideo15{32, 16, 4};
constexpr LatentFormat kLtxv{128, 32, 8};
constexpr LatentFormat kAceStep{8, 1, 1, true};         // along the sound, by 16 frequencies
constexpr LatentFormat kSound{64, 1, 1, true};          // along the sound
constexpr LatentFormat kSound3{256, 1, 1, true, 4096};  // of Stable Audio 3
constexpr LatentFormat kMusic3{128, 1, 1, true};
constexpr int kLtxSoundElements = 8 * 16;  // channels, frequencies
constexpr LatentFormat kMiniMax{24, 16, 4};
constexpr int kMiniMaxSoundElements = 32 * 2;  // channels, left and right
constexpr LatentFormat kHunyuanImage{64, 32, 1};
constexpr LatentFormat kHunyuanRefiner{64, 16, 4};
constexpr LatentFormat kPixels{3, 1, 1};

template <class Config>
const Config& as(const modelfile::DenoiserConfig& config) {
    static const Config kDefault;
    const auto* found = std::get_if<Config>(&config);
    return found != nullptr ? *found : kDefault;
}

FamilyTraits wan_traits(const modelfile::WanConfig& config, double scale) {
    constexpr double kWidthOfOne = 2222;
    return {.usage_factor = scale * config.dim / kWidthOfOne,
            .types = kHalfFirst,
            .latent = config.out_dim == kWan22.channels ? kWan22 : kWan21};
}

FamilyTraits ltxv_traits(const modelfile::LtxvConfig& config) {
    constexpr double kLtxvFactor = 5.5;
    constexpr double kWidthOfOne = 2048;
    return {.usage_factor = kLtxvFactor * config.cross_attention_dim / kWidthOfOne,
            .types = kBrainOnly,
            .latent = kLtxv};
}

FamilyTraits cosmos_traits(const modelfile::CosmosPredict2Config& config, bool newer) {
    constexpr double kWidthOfOne = 2048;
    return {.usage_factor = (newer ? 0.95 : 0.9) * config.model_channels / kWidthOfOne,
            .types = newer ? std::span<const ComputeType>(kBrainFirst)
                           : std::span<const ComputeType>(kBrainOnly),
            .latent = kWan21};
}

FamilyTraits flux2_traits(const modelfile::FluxConfig& config) {
    constexpr double kFluxFactor = 3.1;
    constexpr double kWidthOfOne = 2604.0 / 4;
    return {.usage_factor = kFluxFactor * config.hidden_size / kWidthOfOne,
            .types = kBrainFirst,
            .latent = kFlux2,
            .counts_references = true};
}

// Families that generate images only, beside those of Stable Diffusion and Flux.
FamilyTraits image_traits(Family family, bool newer) {
    switch (family) {
        case Family::ChromaRadiance:
            return {.usage_factor = newer ? 0.044 : 0.038, .types = kBrainFirst, .latent = kPixels};
        case Family::MageFlow:
            return {.usage_factor = 6.5,
                    .types = kBrainOnly,
                    .latent = kFlux2,
                    .references_unknown = true};
        case Family::Krea2:
            return {.usage_factor = 2.2,
                    .types = kBrainFirst,
                    .latent = kWan21,
                    .counts_references = true};
        case Family::Ideogram4:
            return {.usage_factor = 11.6, .types = kBrainOnly, .latent = kFlux2};
        case Family::ErnieImage:
            return {.usage_factor = 10.0, .types = kBrainOnly, .latent = kFlux2};
        case Family::HiDream:  // the base class's factor
            return {.usage_factor = 2.0, .types = kBrainOnly, .latent = kFlux};
        case Family::HiDreamO1:
            return {.usage_factor = 0.033, .types = kBrainOnly, .latent = kPixels};
        case Family::Kandinsky5Image:
            return {.usage_factor = 1.25, .types = kBrainOnly, .latent = kFlux};
        case Family::PixelDit:
            return {.usage_factor = 0.04, .types = kBrainOnly, .latent = kPixels};
        case Family::JoyImage:
            return {.usage_factor = 1.8,
                    .types = kBrainOnly,
                    .latent = kWan21,
                    .counts_references = true};
        case Family::Boogu:
            return {.usage_factor = 2.15,
                    .types = kBrainOnly,
                    .latent = kFlux,
                    .counts_references = true};
        default:
            return {.usage_factor = 1.0, .types = kHalfFirst, .latent = kSd};
    }
}

}  // namespace

FamilyTraits family_traits(Family family, const modelfile::DenoiserConfig& config,
                           const ComfyVersion& version) {
    const bool newer = version >= kNewerTables;
    switch (family) {
        case Family::Sdxl:
        case Family::SdxlInstructPix2Pix:
        case Family::Ssd1b:
        case Family::SegmindVega:
        case Family::Koala700m:
        case Family::Koala1b:
            return {.usage_factor = 0.8, .types = kHalfFirst, .latent = kSd};
        case Family::StableZero123:
        case Family::Svd:
            return {.usage_factor = 2.0, .types = kHalfFirst, .latent = kSd};  // the base class's
        case Family::Sd3:
            return {.usage_factor = newer ? 1.6 : 1.2, .types = kHalfFirst, .latent = kFlux};
        case Family::PixArtSigma:
            return {.usage_factor = 0.5, .types = kHalfFirst, .latent = kSd};
        case Family::Flux:
            return {.usage_factor = 3.1,
                    .types = kBrainFirst,
                    .latent = kFlux,
                    .counts_references = true};
        case Family::FluxFill:
            return {.usage_factor = 3.1,
                    .types = kBrainOnly,
                    .latent = kFlux,
                    .counts_references = true};
        case Family::Flux2:
            return flux2_traits(as<modelfile::FluxConfig>(config));
        case Family::Chroma:
            return {.usage_factor = 3.2, .types = kBrainFirst, .latent = kFlux};
        case Family::LongCatImage:
            return {.usage_factor = 2.5, .types = kBrainFirst, .latent = kFlux};
        case Family::QwenImage:
            return {.usage_factor = 1.8,
                    .types = kBrainOnly,
                    .latent = kWan21,
                    .counts_references = true};
        case Family::Lumina2:
            return {.usage_factor = newer ? 1.4 : 1.2,
                    .types = kBrainOnly,
                    .latent = kFlux,
                    .counts_references = newer};
        case Family::ZImage:
            return {.usage_factor = 2.8,
                    .types = kBrainOnly,
                    .latent = kFlux,
                    .counts_references = newer};
        case Family::OmniGen2:
            return {.usage_factor = newer ? 1.95 : 1.65,
                    .types = kBrainOnly,
                    .latent = kFlux,
                    .counts_references = true};
        case Family::CosmosPredict2:
        case Family::Anima:
            return cosmos_traits(as<modelfile::CosmosPredict2Config>(config), newer);
        case Family::HunyuanVideo:
            return {.usage_factor = 1.8, .types = kBrainOnly, .latent = kHunyuanVideo};
        case Family::HunyuanVideo15:
            return {.usage_factor = 4.0, .types = kHalfFirst, .latent = kHunyuanVideo15};
        case Family::HunyuanImage21:
            return {
                .usage_factor = newer ? 8.7 : 7.7, .types = kBrainOnly, .latent = kHunyuanImage};
        case Family::HunyuanImage21Refiner:
            return {.usage_factor = 1.8, .types = kBrainOnly, .latent = kHunyuanRefiner};
        case Family::Ltxv:
            return ltxv_traits(as<modelfile::LtxvConfig>(config));
        case Family::Ltxav:
            return {.usage_factor = 0.077,
                    .types = kBrainOnly,
                    .latent = kLtxv,
                    .sound_elements = kLtxSoundElements};
        case Family::MiniMaxH3:
            return {.usage_factor = 0.114,
                    .types = kBrainOnly,
                    .latent = kMiniMax,
                    .sound_elements = kMiniMaxSoundElements,
                    .needs_sound = true,
                    .alone = true};
        case Family::SeedVr2:  // the base class's factor
            return {.usage_factor = 2.0, .types = kHalfFirst, .latent = kWan21, .alone = true};
        case Family::Kandinsky5:
            return {.usage_factor = 1.25,
                    .types = kBrainOnly,
                    .latent = kHunyuanVideo,
                    .frames_max = kKandinsky5FramesMax};
        case Family::AceStep:
            return {.usage_factor = 0.5, .types = kBrainOnly, .latent = kAceStep};
        case Family::AceStep15:
            return {.usage_factor = 4.7, .types = kBrainOnly, .latent = kSound};
        case Family::StableAudio:
            return {.usage_factor = 2.0, .types = kHalfFirst, .latent = kSound};
        case Family::StableAudio3:
            return {.usage_factor = 7.0, .types = kHalfFirst, .latent = kSound3};
        case Family::MiniMaxMusic3:  // ComfyUI of August 2026, which has the model first
            return {.usage_factor = 2.0, .types = kHalfFirst, .latent = kMusic3};
        case Family::Wan:
            return wan_traits(as<modelfile::WanConfig>(config), 1.0);
        case Family::WanVace:
            return wan_traits(as<modelfile::WanConfig>(config), 1.2);
        case Family::WanAnimate: {
            FamilyTraits traits = wan_traits(as<modelfile::WanConfig>(config), 1.0);
            traits.frames_min = 2;  // something drives all but the first
            return traits;
        }
        default:
            return image_traits(family, newer);
    }
}

}  // namespace plimsoll::memory
