// SPDX-License-Identifier: Apache-2.0
//
// In which types ComfyUI keeps weights on the card and computes, by card, flags, and what the file
// holds (ComfyUI 0.3.64).
#pragma once
#include "memory/compute_type.h"
#include "memory/server.h"
#include "modelfile/network_config.h"

#include <cstdint>
#include <optional>
#include <span>

namespace plimsoll::memory {

// Types of one model: stored differently from computed means a copy for every operation.
struct Types {
    ComputeType storage = ComputeType::Float16;
    ComputeType compute = ComputeType::Float16;
    friend bool operator==(const Types&, const Types&) = default;
};

// Whether ComfyUI computes in a 16-bit type on this card without being told to.
[[nodiscard]] bool computes_fp16(const Device& device, const LaunchFlags& flags);
[[nodiscard]] bool computes_bf16(const Device& device, const LaunchFlags& flags);

// A diffusion network as its loader finds it.
struct UnetWeights {
    std::int64_t params = 0;
    modelfile::DType file = modelfile::DType::Float16;  // the type that most of them have there
    std::span<const ComputeType> supported;             // by the family, in order of preference
    std::optional<ComputeType> forced;                  // the loader node's weight_dtype
};
[[nodiscard]] Types unet_types(const UnetWeights& weights, const LaunchFlags& flags,
                               const Device& device);
// The first of `supported` that the card computes in.
[[nodiscard]] ComputeType vae_type(std::span<const ComputeType> supported, const LaunchFlags& flags,
                                   const Device& device);
// Text encoders compute in fp32. CLIP is stored in fp16 unless flags say otherwise; others keep
// what their file has, as BuiltTextEncoder::stored says.
[[nodiscard]] Types clip_types(const LaunchFlags& flags);
[[nodiscard]] Types text_types(ComputeType stored, const LaunchFlags& flags);

}  // namespace plimsoll::memory
