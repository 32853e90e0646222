// SPDX-License-Identifier: Apache-2.0
//
// Running a network on the simulated card: memory rises to the recorded peak, time passes, memory
// falls; or the card is full.
//
// Threads: the executing thread only.
#pragma once
#include "simulator/nodes/node.h"

namespace plimsoll::simulator {

struct NetworkRun {
    Device device = Device::Gpu;
    Activation activation;
    std::int64_t kept_bytes = 0;  // latents and conditions that lie on the card meanwhile
    std::int64_t pcie_bytes = 0;  // streamed weights
    std::int64_t streamed_peak_bytes =
        0;  // largest streamed module: it lies on the card in its turn
    double least_seconds = 0;
    double workspace_share = 0;  // of the activations, in torch's pool only
};
[[nodiscard]] NodeStep run_network(NodeContext& context, const NetworkRun& run);

// Loads models as ComfyUI's load_models_gpu; running out of memory is raised.
[[nodiscard]] NodeStep load_models(NodeContext& context, const ModelManager::LoadRequest& request);

// Recorded peak of a network, scaled for the small test model.
[[nodiscard]] std::expected<Activation, NodeFailure> activation_of(const RunQuestion& question,
                                                                   double share = 1);

// What torch reserves for workspaces where there is room, of the active bytes, by public
// measurements (measured.csv). Decoding with the KL VAE: m1756 (SDXL, fp16, 1024 x 1024: 3232 MiB
// reserved, 160 of weights, against 1280 of tensors) and m1757 (the same in fp32: 5568, 319, 2560).
// Encoding: m1743..m1754 (median 1.03 of Qwen-Image's VAE), transformers: m1799/m1800 (1.02).
[[nodiscard]] constexpr double decode_workspace(int element_bytes) {
    return element_bytes == 2 ? 1.40 : 1.05;
}
inline constexpr double kEncodeWorkspace = 0.03;
inline constexpr double kForwardWorkspace = 0.02;

}  // namespace plimsoll::simulator
