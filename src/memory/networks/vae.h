// SPDX-License-Identifier: Apache-2.0
//
// Vae: a network between pixels and latents, walked whole or tile by tile.
#pragma once
#include "memory/networks/registry.h"

#include <cstdint>
#include <optional>

namespace plimsoll::memory {

// Which of ComfyUI's VAEs it is; decides what ComfyUI believes that it needs.
enum class VaeKind : std::uint8_t {
    AutoencoderKl,
    Flux2,
    Wan21,
    Wan22,
    HunyuanVideo,
    HunyuanVideo15,  // and HunyuanImage's refiner
    HunyuanImage,
    Oobleck,
    Ltx,
    LtxDiffusion,  // decodes by denoising: LTX 2.4, 2.5
    LtxSound,
    Cosmos1,
    Mage,
    PixelSpace,
};

// How pixels become latent cells.
struct VaeGrid {
    int pixels_per_cell = 8;
    int frames_per_cell = 1;  // above 1: the first frame has a cell of its own
    int latent_channels = 4;
};

// How a sound's samples become latents along the time.
struct SoundGrid {
    int samples_per_second = 44'100;
    int samples_per_latent = 2048;
    int latent_channels = 64;
    int latent_rows = 1;         // cells of one latent along the time: frequencies
    bool rows_are_time = false;  // in LTX-2's latents, whose columns are the frequencies
};

class Vae : public RegisteredNetwork {
  public:
    [[nodiscard]] virtual VaeKind kind() const = 0;
    [[nodiscard]] virtual VaeGrid grid() const = 0;
    // Of VAEs of sound; their calls count `latents` instead of pixels.
    [[nodiscard]] virtual std::optional<SoundGrid> sound() const { return std::nullopt; }
    // Whether the walk has this version's forward for such a call.
    [[nodiscard]] virtual bool knows(const VaeCall& /*call*/) const { return true; }
    // Whether the walk has the encoder's forward at all.
    [[nodiscard]] virtual bool encodes() const { return true; }
    [[nodiscard]] virtual Walk simulate_decode(const VaeCall& call) const = 0;
    // Only of those that encode.
    [[nodiscard]] virtual Walk simulate_encode(const VaeCall& call) const;

  protected:
    using RegisteredNetwork::RegisteredNetwork;
};

}  // namespace plimsoll::memory
