// SPDX-License-Identifier: Apache-2.0
//
// Sentences for --explain: why weights are where they are, and why conditions run as they do.
#pragma once
#include "memory/forecast.h"
#include "memory/residency/estimates.h"
#include "memory/residency/policy.h"

#include <cstddef>
#include <string>
#include <vector>

namespace plimsoll::memory {

// What came, left, and is streamed.
void explain_weights(Phase& phase, const Movement& moved, const ResidencyPolicy& policy);

// `asked` bytes: what the conditions together are estimated at, margin included.
void explain_conditions(Phase& phase, std::size_t conditions, std::size_t forwards, double asked,
                        double free);

}  // namespace plimsoll::memory
