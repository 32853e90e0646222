// SPDX-License-Identifier: Apache-2.0
//
// What the entry points share: from a call's types and rules to a Tape, from a finished Tape to a
// Walk.
#pragma once
#include "memory/ghost/tape.h"
#include "memory/networks/walk.h"

namespace plimsoll::memory {

[[nodiscard]] ghost::ElementType element_type(ComputeType type);
[[nodiscard]] ghost::TapeOptions tape_options(ComputeType storage, ComputeType compute,
                                              const ForwardRules& rules);
[[nodiscard]] Walk finish_walk(ghost::Tape& tape, const Network& network, ComputeType storage,
                               const ForwardRules& rules);

}  // namespace plimsoll::memory
