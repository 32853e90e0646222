// SPDX-License-Identifier: Apache-2.0
//
// From the fields of a trace line to the network and the call that they ask about.
#pragma once
#include "base/json.h"
#include "memory/networks/walk.h"

namespace plimsoll::memory {

// NotFound when the family, variant or phase is not simulated; InvalidInput when a field cannot be.
// `observer` sees every operation; nullptr: nobody watches. It outlives the call.
[[nodiscard]] Result<Walk> answer_question(const json::value& line,
                                           const OpObserver* observer = nullptr);

}  // namespace plimsoll::memory
