// SPDX-License-Identifier: Apache-2.0
#include "memory/residency/dtypes.h"

#include "base/text.h"
#include "memory/residency/loader_rules.h"

#include <algorithm>
#include <array>
#include <string>
#include <string_view>

namespace plimsoll::memory {

namespace {

constexpr double kWeightsOfCard = 0.88;  // of the card that weights may take (ComfyUI 0.3.64)

// Turing without tensor cores: fp16 gives NaN on them. Names as ComfyUI matches them.
constexpr std::array<std::string_view, 12> kBrokenFp16 = {"1660",     "1650",  "1630",  "t500",
                                                          "t550",     "t600",  "mx550", "mx450",
                                                          "cmp 30hx", "t2000", "t1000", "t1200"};
// Pascal: storing fp16 works, computing in it is slow.
constexpr std::array<std::string_view, 16> kTenSeries = {
    "1080",  "1070",  "titan x", "p3000", "p3200", "p4000", "p4200", "p5000",
    "p5200", "p6000", "1060",    "1050",  "p40",   "p100",  "p6",    "p4"};

template <std::size_t N>
bool named(const Device& device, const std::array<std::string_view, N>& names) {
    const std::string lower = to_lower_ascii(device.name);
    return std::ranges::any_of(
        names, [&](std::string_view name) { return lower.find(name) != std::string::npos; });
}

// Bytes that weights may take without crowding out computing.
double weights_max(const LaunchFlags& flags, const Device& device) {
    const LoaderRules rules =
        loader_rules(Server{.version = {}, .flags = flags, .policy = {}}, device);
    return static_cast<double>(device.total.count) * kWeightsOfCard - rules.minimum_inference;
}

enum class Cast : std::uint8_t { Native, Manual };

// Manual: whether weights may be kept in the type although computing in it is no gain; that pays
// only where fp32 would not fit.
bool fp16(const Device& device, const LaunchFlags& flags, Cast cast, std::int64_t params) {
    if (device.vendor == Vendor::Cpu || flags.vram == VramState::Cpu) return false;
    if (flags.force_fp16) return true;
    if (flags.force_fp32) return false;
    if (device.vendor != Vendor::Nvidia) return true;
    constexpr int kAmpere = 80;
    constexpr int kVolta = 70;
    constexpr int kPascal = 60;
    if (device.compute_capability >= kAmpere) return true;
    if (device.compute_capability < kPascal) return false;
    if (named(device, kTenSeries))
        return cast == Cast::Manual || device.os == OperatingSystem::Windows;
    if (cast == Cast::Manual && static_cast<double>(params) * 4 > weights_max(flags, device))
        return true;
    return device.compute_capability >= kVolta && !named(device, kBrokenFp16);
}

bool bf16(const Device& device, const LaunchFlags& flags, Cast cast, std::int64_t params) {
    if (device.vendor == Vendor::Cpu || flags.vram == VramState::Cpu || flags.force_fp32)
        return false;
    if (device.vendor != Vendor::Nvidia) return true;
    constexpr int kAmpere = 80;
    if (device.compute_capability >= kAmpere) return true;
    return cast == Cast::Manual && static_cast<double>(params) * 4 > weights_max(flags, device);
}

// torch's fp8 matrix products.
bool computes_fp8(const Device& device) {
    constexpr int kAda = 89;
    return device.vendor == Vendor::Nvidia && device.compute_capability >= kAda;
}

std::optional<ComputeType> chosen(DTypeChoice choice) {
    switch (choice) {
        case DTypeChoice::Auto:
            return std::nullopt;
        case DTypeChoice::Fp32:
            return ComputeType::Float32;
        case DTypeChoice::Fp16:
            return ComputeType::Float16;
        case DTypeChoice::Bf16:
            return ComputeType::BFloat16;
        case DTypeChoice::Fp8E4M3:
            return ComputeType::Float8E4M3;
        case DTypeChoice::Fp8E5M2:
            return ComputeType::Float8E5M2;
    }
    return std::nullopt;
}

std::optional<ComputeType> fp8_of(modelfile::DType file) {
    if (file == modelfile::DType::Float8E4M3) return ComputeType::Float8E4M3;
    if (file == modelfile::DType::Float8E5M2) return ComputeType::Float8E5M2;
    return std::nullopt;
}

bool supports(const UnetWeights& weights, ComputeType type) {
    return std::ranges::find(weights.supported, type) != weights.supported.end();
}

bool takes(ComputeType type, const UnetWeights& weights, Cast cast, const LaunchFlags& flags,
           const Device& device) {
    if (type == ComputeType::Float16) return fp16(device, flags, cast, weights.params);
    return type == ComputeType::BFloat16 && bf16(device, flags, cast, weights.params);
}

ComputeType unet_storage(const UnetWeights& weights, const LaunchFlags& flags,
                         const Device& device) {
    // Quantised weights stay as they are.
    if (weights.file == modelfile::DType::Int8) return ComputeType::Int8;
    if (const auto fp8 = fp8_of(weights.file)) {
        if (computes_fp8(device) ||
            static_cast<double>(weights.params) * 2 > weights_max(flags, device))
            return *fp8;
    }
    constexpr ComputeType kHalf = ComputeType::Float16;
    if (weights.file == modelfile::DType::Float16 && supports(weights, kHalf) &&
        takes(kHalf, weights, Cast::Native, flags, device))
        return kHalf;
    for (const Cast cast : {Cast::Native, Cast::Manual})
        for (const ComputeType type : weights.supported)
            if (takes(type, weights, cast, flags, device)) return type;
    return ComputeType::Float32;
}

ComputeType unet_compute(ComputeType storage, std::span<const ComputeType> supported,
                         const LaunchFlags& flags, const Device& device) {
    const auto computes = [&](ComputeType type) {
        if (type == ComputeType::Float16) return fp16(device, flags, Cast::Native, 0);
        return type == ComputeType::BFloat16 && bf16(device, flags, Cast::Native, 0);
    };
    if (storage == ComputeType::Float32 || computes(storage)) return storage;
    for (const ComputeType type : supported)
        if (computes(type)) return type;
    return ComputeType::Float32;
}

}  // namespace

bool computes_fp16(const Device& device, const LaunchFlags& flags) {
    return fp16(device, flags, Cast::Native, 0);
}

bool computes_bf16(const Device& device, const LaunchFlags& flags) {
    return bf16(device, flags, Cast::Native, 0);
}

Types unet_types(const UnetWeights& weights, const LaunchFlags& flags, const Device& device) {
    std::optional<ComputeType> storage = weights.forced ? weights.forced : chosen(flags.unet);
    if (!storage && flags.force_fp16) storage = ComputeType::Float16;
    if (!storage) storage = unet_storage(weights, flags, device);
    return {*storage, unet_compute(*storage, weights.supported, flags, device)};
}

ComputeType vae_type(std::span<const ComputeType> supported, const LaunchFlags& flags,
                     const Device& device) {
    if (const auto type = chosen(flags.vae)) return *type;
    if (flags.cpu_vae) return ComputeType::Float32;
    for (const ComputeType type : supported) {
        if (type == ComputeType::Float16 && computes_fp16(device, flags)) return type;
        if (type == ComputeType::BFloat16 && computes_bf16(device, flags)) return type;
    }
    return ComputeType::Float32;
}

Types text_types(ComputeType stored, const LaunchFlags& flags) {
    return {chosen(flags.text_encoder).value_or(stored), ComputeType::Float32};
}

Types clip_types(const LaunchFlags& flags) {
    return {chosen(flags.text_encoder).value_or(ComputeType::Float16), ComputeType::Float32};
}

}  // namespace plimsoll::memory
