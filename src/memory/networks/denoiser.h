// SPDX-License-Identifier: Apache-2.0
//
// Denoiser: a network that is run once for every step and batch of conditions. ComfyUI's sampler
// and model object around it are the same for all of them (denoiser_calls.cpp).
#pragma once
#include "memory/networks/layers.h"

#include <cstdint>
#include <vector>

namespace plimsoll::memory {

// Tensors that a ControlNet hands to the network, in the order it made them; taken from the back.
struct ControlTensors {
    std::vector<Tensor> middle;
    std::vector<Tensor> output;
    std::vector<Tensor> single;  // for the blocks of one stream, where a network has two kinds
    bool once = false;           // each is added after one block of those that it stands for
};

// To a transformer's tokens after one of its `blocks`: in place. A tensor of the ControlNet's
// serves as many blocks as there are for each of its own.
void add_control(Tape& tape, Module module, const ControlTensors* control, std::size_t block,
                 std::size_t blocks, const Tensor& tokens);
// The same after a block of one stream, text and image in one: to the image's tokens.
void add_control_to_single(Tape& tape, Module module, const ControlTensors* control,
                           std::size_t block, std::size_t blocks, const Tensor& stream);

// What a forward is given; fields that a network does not take are undefined.
struct StepInputs {
    Tensor x;          // [N, C, H, W], or [N, C, T, H, W] for video
    Tensor timesteps;  // [N]
    Tensor context;    // [N, tokens, width]
    Tensor y;          // [N, width]: pooled text, sizes, classes
    Tensor guidance;   // [N]: distilled guidance
    Tensor concat;     // further input channels: masks and latents; joined to x by the model object
    std::vector<Tensor> references;  // latents of reference images
    ReferenceMethod reference_method = ReferenceMethod::Usual;
    std::vector<Tensor> more;           // what only one family takes, in its own order
    std::vector<Tensor> schedule;       // the step's sigma and those of all steps: always fp32
    ControlTensors* control = nullptr;  // emptied by the walk of a UNet
    const ModelPatchNetwork* patch = nullptr;
    std::vector<Tensor> patch_hints;  // what the patch keeps for the whole run
    std::int64_t frames = 1;  // of each video, where x holds them one by one as [N, C, H, W]
};

// From the network's output to the denoised latent, and from sigma to the timestep.
enum class Prediction : std::uint8_t {
    Eps,         // noise, discrete steps
    V,           // velocity, discrete steps
    Edm,         // noise, continuous
    Flow,        // rectified flow: the timestep is sigma itself
    FlowScaled,  // rectified flow: the timestep is sigma times a number
    FlowCosmos,  // rectified flow over sigma / (sigma + 1), which is the timestep too
};

// Which tensors a caller holds for a step. Timesteps are always fp32.
struct InputWish {
    const StepCall& call;
    std::int64_t batch = 1;       // latents
    std::int64_t cond_batch = 1;  // conditions; repeated to the latents by the sampler
    ghost::ElementType type = ghost::ElementType::Float32;
    bool joined = false;  // further channels are in `x` already: the network called by itself
};

// The sigmas that a model object keeps: `elements` numbers in fp32, whatever the network's type.
[[nodiscard]] inline ModuleEntry sigma_table(std::int64_t elements) {
    return {.path = "model_sampling",
            .class_name = "ModelSampling",
            .elements = elements,
            .castable = false,
            .storage = ModuleStorage::Float32,
            .leaf = false};
}

class Denoiser : public RegisteredNetwork {
  public:
    [[nodiscard]] virtual StepInputs make_inputs(Tape& tape, const InputWish& wish) const = 0;
    [[nodiscard]] virtual Tensor forward(Tape& tape, const StepInputs& inputs) const = 0;
    [[nodiscard]] virtual Prediction prediction() const = 0;
    // Whether weights that are stored in another type than they run in are cast to it layer by
    // layer. Networks whose layers differ in this say no, and account for it themselves.
    [[nodiscard]] virtual bool casts_weights() const { return true; }
    // Buffers of ComfyUI's model object around the network, which its loader counts too: sigma
    // tables, SDXL's noise augmentor. Not part of modules().
    [[nodiscard]] virtual std::vector<ModuleEntry> model_buffers() const = 0;
};

}  // namespace plimsoll::memory
