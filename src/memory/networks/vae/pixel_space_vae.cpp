// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/vae/pixel_space_vae.h"

#include "memory/networks/calls.h"

namespace plimsoll::memory {

PixelSpaceVae::PixelSpaceVae() {
    // One number, by which ComfyUI tells it from other VAEs.
    registry_.add_own_parameters(registry_.path("", ""), "PixelspaceConversionVAE", 1,
                                 ModuleStorage::AsNetwork);
}

VaeGrid PixelSpaceVae::grid() const {
    constexpr int kColours = 3;
    return {.pixels_per_cell = 1, .frames_per_cell = 1, .latent_channels = kColours};
}

Walk PixelSpaceVae::simulate_decode(const VaeCall& call) const {
    ghost::Tape tape(tape_options(call.storage, call.compute, call.rules));
    const ghost::Tensor pixels = tape.input(
        {call.batch, grid().latent_channels, call.height, call.width}, element_type(call.compute));
    return finish_walk(tape, *this, call.storage, call.rules);
}

Walk PixelSpaceVae::simulate_encode(const VaeCall& call) const {
    return simulate_decode(call);
}

}  // namespace plimsoll::memory
