// SPDX-License-Identifier: Apache-2.0
//
// Model patches: networks that ComfyUI loads beside a diffusion network and runs inside its
// forward. A forward begins a run of the patch, and calls it where the network lets patches in.
#pragma once
#include "memory/networks/denoiser.h"

#include <cstddef>
#include <cstdint>
#include <memory>
#include <vector>

namespace plimsoll::memory {

// A block that has run.
struct PatchedBlock {
    enum class Stage : std::uint8_t { Refiner, Layers };
    Stage stage = Stage::Layers;
    std::size_t index = 0;
    const Tensor& input;   // the image's tokens before it
    const Tensor& tokens;  // and after it, which the patch adds to
    Tensor table = {};     // of their positions
    Tensor time = {};      // what modulates the block
};

// A projection that is about to run.
enum class PatchedInput : std::uint8_t { Query, Key, Value, CrossQuery, FeedForward };

class PatchRun {
  public:
    PatchRun() = default;
    PatchRun(const PatchRun&) = delete;
    PatchRun& operator=(const PatchRun&) = delete;
    virtual ~PatchRun() = default;

    virtual void after_block(const PatchedBlock& /*block*/) {}
    // What the projection is given instead of `x`.
    [[nodiscard]] virtual Tensor before(PatchedInput /*what*/, std::size_t /*block*/,
                                        const Tensor& x) {
        return x;
    }
};

class ModelPatchNetwork : public RegisteredNetwork {
  public:
    // What stays on the card from step to step: a control image, or its latent.
    [[nodiscard]] virtual std::vector<Tensor> make_hints(Tape& tape,
                                                         const StepCall& call) const = 0;
    [[nodiscard]] virtual std::unique_ptr<PatchRun> begin(Tape& tape,
                                                          const StepInputs& inputs) const = 0;
};

// nullptr where the network runs without a patch.
[[nodiscard]] inline std::unique_ptr<PatchRun> begin_patch(Tape& tape, const StepInputs& in) {
    return in.patch == nullptr ? nullptr : in.patch->begin(tape, in);
}

}  // namespace plimsoll::memory
