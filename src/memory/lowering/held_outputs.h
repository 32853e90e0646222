// SPDX-License-Identifier: Apache-2.0
//
// What a node's outputs take in the host's memory: ComfyUI keeps images, latents and sounds there
// between nodes, in fp32, and its cache keeps them until the next job.
#pragma once
#include "base/units.h"
#include "memory/lowering/node_scope.h"

namespace plimsoll::memory {

// What the node made itself; inputs that it hands on are held by the nodes that made them. Texts'
// embeddings are left out: a few MiB each.
[[nodiscard]] Bytes held_bytes(const workflow::NodeKind& kind, const Values& values);

}  // namespace plimsoll::memory
