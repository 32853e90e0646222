// SPDX-License-Identifier: Apache-2.0
//
// `plimsoll trace`: answers one recorded question (a JSON line in the form of the recorded traces)
// with what the ghost tensors see. The accuracy of the whole memory model is judged through this
// door.
//
// Enters through: text of one line.   Leaves through: text of one line.   Threads: no shared state.
#pragma once
#include "base/error.h"

#include <string>
#include <string_view>

namespace plimsoll::memory {

// The same line with peak_bytes, weights_bytes, params, flops, bytes_moved, kernels, peak_site,
// top_live, max_cast_bytes and input_bytes set; other fields are kept. A question about a network
// that is not simulated comes back without numbers, with "verdict": "unknown" and a "reason". Fails
// with Corrupt when the line is no JSON object.
[[nodiscard]] Result<std::string> answer_trace_line(std::string_view json_line);

}  // namespace plimsoll::memory
