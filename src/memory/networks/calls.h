// SPDX-License-Identifier: Apache-2.0
//
// What the entry points share: from a call's types and rules to a Tape, from a finished Tape to a
// Walk.
#pragma once
#include "memory/ghost/tape.h"
#include "memory/networks/walk.h"

#include <functional>

namespace plimsoll::memory {

[[nodiscard]] ghost::ElementType element_type(ComputeType type);
[[nodiscard]] ghost::TapeOptions tape_options(ComputeType storage, ComputeType compute,
                                              const ForwardRules& rules);
[[nodiscard]] Walk finish_walk(ghost::Tape& tape, const Network& network, ComputeType storage,
                               const ForwardRules& rules);

// Calls the walk while something watches its operations one by one: for finding the tensor that
// differs from a recording.
using OpObserver = std::function<void(const ghost::OpEvent&)>;
void observe_ops(OpObserver observer);  // of this thread's next walks; an empty one ends it
[[nodiscard]] const OpObserver& current_observer();

}  // namespace plimsoll::memory
