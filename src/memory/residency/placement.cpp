// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/placement.h"

#include "memory/residency/dtypes.h"

namespace plimsoll::memory {

namespace {

constexpr std::int64_t kLargeTextEncoder = 1024LL * 1024 * 1024;  // smaller ones start on the host
constexpr double kTextEncoderMargin = 1.2;

bool high(const LaunchFlags& flags) {
    return flags.vram == VramState::High || flags.vram == VramState::GpuOnly;
}

bool without_card(const LaunchFlags& flags, const Device& device) {
    return flags.vram == VramState::Cpu || device.vendor == Vendor::Cpu;
}

// A diffusion model of a checkpoint starts on the card only where that has more room than the host.
Place unet_begins(std::int64_t size, const LaunchFlags& flags, const Device& device,
                  std::int64_t free_bytes) {
    if (high(flags)) return Place::Card;
    if (flags.disable_smart_memory || flags.vram == VramState::None) return Place::Host;
    return free_bytes > device.host_ram_free.count && size < free_bytes ? Place::Card : Place::Host;
}

Place text_encoder_begins(const Placement& placement, std::int64_t size, const Device& device,
                          std::int64_t free_bytes) {
    if (placement.runs_on == placement.rests_on || size <= kLargeTextEncoder)
        return placement.rests_on;
    const bool roomy =
        2 * free_bytes > device.host_ram_free.count &&
        static_cast<double>(size) * kTextEncoderMargin < static_cast<double>(free_bytes);
    return roomy ? Place::Card : placement.rests_on;
}

}  // namespace

Placement place_model(ModelRole role, std::int64_t size_bytes, const Server& server,
                      const Device& device, std::int64_t free_bytes, LoadedFrom from) {
    const LaunchFlags& flags = server.flags;
    constexpr Placement kHost{Place::Host, Place::Host, Place::Host};
    if (without_card(flags, device)) return kHost;
    Placement placement;
    switch (role) {
        case ModelRole::Unet:
        case ModelRole::ControlNet:
        case ModelRole::Upscaler:
        case ModelRole::LatentUpscaler:
        case ModelRole::ModelPatch:
        case ModelRole::ImageReader:
        case ModelRole::Other:
            placement.rests_on = high(flags) ? Place::Card : Place::Host;
            // A checkpoint's image reader is what another's diffusion network is.
            placement.built_on = (role == ModelRole::Unet || role == ModelRole::ImageReader) &&
                                         from == LoadedFrom::Checkpoint
                                     ? unet_begins(size_bytes, flags, device, free_bytes)
                                     : placement.rests_on;
            placement.moved_whole = from == LoadedFrom::OwnFile;
            return placement;
        case ModelRole::Vae:
            if (flags.cpu_vae) return kHost;
            placement.rests_on = flags.vram == VramState::GpuOnly ? Place::Card : Place::Host;
            return placement;  // built in host memory always
        case ModelRole::ClipVision:
        case ModelRole::AudioEncoder:
        case ModelRole::TextEncoder: {
            const bool fast = flags.vram == VramState::Normal || flags.vram == VramState::High;
            const bool on_card =
                flags.vram == VramState::GpuOnly || (fast && computes_fp16(device, flags));
            if (!on_card) return kHost;
            placement.rests_on = flags.vram == VramState::GpuOnly ? Place::Card : Place::Host;
            // Encoders of images and sounds begin where they rest.
            placement.built_on =
                role == ModelRole::TextEncoder
                    ? text_encoder_begins(placement, size_bytes, device, free_bytes)
                    : placement.rests_on;
            return placement;
        }
    }
    return placement;
}

}  // namespace plimsoll::memory
