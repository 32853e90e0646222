// SPDX-License-Identifier: Apache-2.0
//
// The tables of simulated nodes, one for each file of nodes. Private to nodes. Threads: immutable.
#pragma once
#include "simulator/nodes/node.h"

#include <span>
#include <string_view>

namespace plimsoll::simulator {

struct NodeEntry {
    std::string_view name;
    NodeFunction function;
};
[[nodiscard]] std::span<const NodeEntry> loader_nodes();
[[nodiscard]] std::span<const NodeEntry> conditioning_nodes();
[[nodiscard]] std::span<const NodeEntry> latent_nodes();
[[nodiscard]] std::span<const NodeEntry> latent_files();
[[nodiscard]] std::span<const NodeEntry> sampler_nodes();
[[nodiscard]] std::span<const NodeEntry> vae_nodes();
[[nodiscard]] std::span<const NodeEntry> image_nodes();
[[nodiscard]] std::span<const NodeEntry> fixture_nodes();

}  // namespace plimsoll::simulator
