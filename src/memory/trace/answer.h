// SPDX-License-Identifier: Apache-2.0
//
// From the fields of a trace line to the network and the call that they ask about.
#pragma once
#include "base/json.h"
#include "memory/networks/walk.h"

namespace plimsoll::memory::trace {

// Which kernels the forwards run on. Cu130: PyTorch 2.9 and later with ComfyUI's own, where norms
// and rotary embeddings are one kernel each.
enum class KernelSet : std::uint8_t { Eager28, Cu130 };

// NotFound when the family, variant or phase is not simulated; InvalidInput when a field cannot be.
// `observer` sees every operation; nullptr: nobody watches. It outlives the call.
[[nodiscard]] Result<Walk> answer_question(const json::value& line,
                                           KernelSet kernels = KernelSet::Eager28,
                                           const OpObserver* observer = nullptr);
// Whether the question is about a version that has builds on Cu130.
[[nodiscard]] bool has_cu130_build(const json::value& line);

}  // namespace plimsoll::memory::trace
