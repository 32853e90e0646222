// SPDX-License-Identifier: Apache-2.0
#include "memory/simulation/explain.h"

#include <fmt/format.h>

namespace plimsoll::memory {

namespace {

std::string text_of(double bytes) {
    return to_text(Bytes(static_cast<std::int64_t>(bytes)));
}

}  // namespace

void explain_weights(Phase& phase, const Movement& moved, const ResidencyPolicy& policy) {
    for (const auto& left : moved.evicted)
        if (left.bytes > 0)
            phase.reasons.push_back(
                fmt::format("{} gives back {}{}", policy.model(left.handle).name,
                            to_text(Bytes(left.bytes)), left.wholly ? ", all of it" : ""));
    if (phase.merging > Bytes(0))
        phase.reasons.push_back(
            fmt::format("patches are merged weight by weight as they are loaded: {} at most",
                        to_text(phase.merging)));
    for (const Residency& m : phase.models)
        if (m.streamed > Bytes(0))
            phase.reasons.push_back(fmt::format(
                "{}: {} of {} are on the card, {} in {} modules are streamed on every forward, the "
                "largest {}",
                m.model, to_text(m.resident), to_text(m.size), to_text(m.streamed),
                m.streamed_modules, to_text(m.largest_streamed)));
}

void explain_conditions(Phase& phase, std::size_t conditions, std::size_t forwards, double asked,
                        double free) {
    if (conditions < 2)
        phase.reasons.emplace_back("one condition a step: the negative is not run");
    else if (forwards == 1)
        phase.reasons.push_back(
            fmt::format("{} conditions share a forward: ComfyUI asks for {}, {} are free",
                        conditions, text_of(asked), text_of(free)));
    else
        phase.reasons.push_back(fmt::format(
            "{} conditions take {} forwards: together ComfyUI would ask for {}, {} are free",
            conditions, forwards, text_of(asked), text_of(free)));
}

}  // namespace plimsoll::memory
