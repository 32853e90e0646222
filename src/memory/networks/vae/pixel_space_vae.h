// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI's stand-in for a VAE where the diffusion network makes pixels: it hands on what it is
// given.
#pragma once
#include "memory/networks/vae.h"

namespace plimsoll::memory {

class PixelSpaceVae final : public Vae {
  public:
    PixelSpaceVae();

    [[nodiscard]] VaeKind kind() const override { return VaeKind::PixelSpace; }
    [[nodiscard]] VaeGrid grid() const override;
    [[nodiscard]] Walk simulate_decode(const VaeCall& call) const override;
    [[nodiscard]] Walk simulate_encode(const VaeCall& call) const override;
};

}  // namespace plimsoll::memory
