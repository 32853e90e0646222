// SPDX-License-Identifier: Apache-2.0
//
// Activity: what computing takes on the card besides resident weights, and what it costs: the walks
// of a phase put together.
#pragma once
#include "memory/networks/walk.h"
#include "memory/program.h"
#include "memory/residency/dtypes.h"
#include "memory/residency/tiles.h"
#include "memory/server.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::memory {

// Bytes that the allocator holds for each byte that tensors take, where there is room: slopes over
// the batch of 512 x 512 Stable Diffusion steps (public measurements, see activity.cpp).
inline constexpr double kHeldPerTensor = 1.4;

struct Activity {
    Bytes activations;  // tensors of the largest forward, its inputs included
    Bytes cast;         // weight copies in another type, alive at that moment
    std::string peak_module;
    std::string peak_op;
    std::vector<LiveTensor> top_live;
    OpCosts costs;  // of all forwards in it
    double held_per_tensor = kHeldPerTensor;
    std::int64_t forwards = 0;

    // What the allocator holds for so many bytes of its tensors, where there is room.
    [[nodiscard]] Bytes held(Bytes tensors) const;
    // Another forward that runs after what is there already, `times` times.
    void then(const Walk& walk, const Walk& with_casts, std::int64_t times);
};

// The same of networks of convolutions over whole images: VAEs (see activity.cpp). Upscalers, of
// which nobody published both numbers, are the same kind of work.
inline constexpr double kHeldPerTensorOfPixels = 3.3;

// The same of networks with convolutions over time (see activity.cpp): VAEs of videos, and latent
// upsamplers, of which nobody published both numbers.
inline constexpr double kHeldPerTensorOfVideo = 1.27;

// A walk whose weight copies stand apart.
[[nodiscard]] Activity walk_in_types(const Types& types, const ForwardRules& rules,
                                     const std::function<Walk(const ForwardRules&)>& walk);

// Of one forward, where these are of `by`.
[[nodiscard]] OpCosts divided(OpCosts costs, std::int64_t by);

// Which forwards the server runs.
[[nodiscard]] ForwardRules forward_rules(const Server& server, const Device& device);

// One encode by every encoder of the model, one after the other.
[[nodiscard]] Activity text_encode_activity(const ProgramModel& model,
                                            std::span<const EncoderRun> runs,
                                            const LaunchFlags& flags, const Device& device,
                                            const ForwardRules& rules);

// A text that is written after a prompt; nullopt where none of the model's networks writes.
[[nodiscard]] std::optional<Activity> text_generate_activity(const ProgramModel& model,
                                                             const TextGenerateStep& step,
                                                             const LaunchFlags& flags,
                                                             const Device& device,
                                                             const ForwardRules& rules);

// A forward of `conds` conditions at once.
struct StepForward {
    int conds = 2;
    int tokens = 77;
    int lyrics = 0;
    const ControlNetNetwork* controlnet = nullptr;
    const ModelPatchNetwork* patch = nullptr;
    std::vector<LatentShape> references;
    ReferenceMethod reference_method = ReferenceMethod::Usual;
    LatentShape latent;      // that it sees
    std::int64_t times = 1;  // how often it runs, beside the others
};
// `patches`: those that add tensors to the forwards of the network of `config`.
[[nodiscard]] Activity sampling_activity(const Denoiser& unet,
                                         const modelfile::DenoiserConfig& config,
                                         std::span<const StepForward> forwards, const Types& types,
                                         const SamplingPatches& patches, const ForwardRules& rules);

// A step's call of its network for one image, one video or one sound.
[[nodiscard]] VaeCall vae_call(const VaeStep& step, ComputeType type, const ForwardRules& rules);

// Whole images or sounds, `slice` at a time.
[[nodiscard]] Activity vae_activity(const Vae& vae, const VaeStep& step, int slice,
                                    ComputeType type, const ForwardRules& rules);
// In tiles.
[[nodiscard]] Activity tiled_vae_activity(const Vae& vae, VaeDirection direction,
                                          std::span<const TileRun> tiles, ComputeType type,
                                          const ForwardRules& rules);

}  // namespace plimsoll::memory
