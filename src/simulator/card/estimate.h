// SPDX-License-Identifier: Apache-2.0
//
// ComfyUI 0.3.64's own estimates of activation memory, by which its loader decides. Crude on
// purpose: they are what the real server believes, not what the card needs.
#pragma once
#include "simulator/launch_flags.h"

#include <cstdint>

namespace plimsoll::simulator {

struct LatentShape {
    std::int64_t batch = 1;
    std::int64_t width = 0;  // latent cells
    std::int64_t height = 0;
    [[nodiscard]] std::int64_t cells() const { return width * height; }
};

// model_base.memory_required: bytes for one forward of `batch` items. `factor` is the model's
// memory_usage_factor: 1.0 for SD 1.x and 2.x, 0.8 for SDXL.
[[nodiscard]] inline double estimate_forward_bytes(std::int64_t batch, std::int64_t cells,
                                                   int element_bytes, double factor,
                                                   const LaunchFlags& flags) {
    const auto area = static_cast<double>(batch * cells);
    const double mib =
        flags.split_attention ? area * 0.15 * factor : area * element_bytes * 0.01 * factor;
    return mib * 1048576.0;
}

// VAE.memory_used_decode and _encode of the KL VAE. The batch is not in them.
[[nodiscard]] inline double estimate_decode_bytes(std::int64_t latent_cells, int element_bytes) {
    return 2178.0 * static_cast<double>(latent_cells) * 64 * element_bytes;
}
[[nodiscard]] inline double estimate_encode_bytes(std::int64_t pixels, int element_bytes) {
    return 1767.0 * static_cast<double>(pixels) * element_bytes;
}

}  // namespace plimsoll::simulator
