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

// The LDM family. `params` of the diffusion network, `file` the type that most of them have there;
// `forced`: the loader node's weight_dtype.
[[nodiscard]] Types unet_types(std::int64_t params, modelfile::DType file,
                               std::optional<ComputeType> forced, const LaunchFlags& flags,
                               const Device& device);
// AutoencoderKL and its relatives: bf16 where the card has it, else fp32.
[[nodiscard]] ComputeType vae_type(const LaunchFlags& flags, const Device& device);
// CLIP: stored in fp16 unless flags say otherwise, computed in fp32.
[[nodiscard]] Types clip_types(const LaunchFlags& flags);

}  // namespace plimsoll::memory
