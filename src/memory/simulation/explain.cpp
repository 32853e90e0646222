// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/explain.h"

#include "base/say.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

Bytes whole_bytes(double bytes) {
    return Bytes(static_cast<std::int64_t>(bytes));
}

}  // namespace

void explain_weights(Phase& phase, const Movement& moved, const ResidencyPolicy& policy) {
    for (const auto& left : moved.evicted)
        if (left.bytes > 0)
            phase.reasons.push_back(
                left.wholly
                    ? say<"phase.gives_all_back">(policy.model(left.handle).name, Bytes(left.bytes))
                    : say<"phase.gives_back">(policy.model(left.handle).name, Bytes(left.bytes)));
    if (phase.merging > Bytes(0)) phase.reasons.push_back(say<"phase.merges">(phase.merging));
    for (const Residency& m : phase.models)
        if (m.streamed > Bytes(0))
            phase.reasons.push_back(say<"phase.streams">(m.model, m.resident, m.size, m.streamed,
                                                         m.streamed_modules, m.largest_streamed));
}

void explain_conditions(Phase& phase, std::size_t conditions, std::size_t forwards, double asked,
                        double free) {
    if (conditions < 2)
        phase.reasons.push_back(say<"phase.one_condition">());
    else if (forwards == 1)
        phase.reasons.push_back(
            say<"phase.together">(conditions, whole_bytes(asked), whole_bytes(free)));
    else
        phase.reasons.push_back(
            say<"phase.apart">(conditions, forwards, whole_bytes(asked), whole_bytes(free)));
}

}  // namespace plimsoll::memory
