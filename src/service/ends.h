// SPDX-License-Identifier: Apache-2.0
//
// How a job ended, in the words of each layer: one table. Plain values.
#pragma once
#include "history/run.h"
#include "service/comfyui/follow.h"
#include "service/generate.h"

#include <algorithm>
#include <array>

namespace plimsoll::service {

struct EndNames {
    JobEnd job;
    GenerateEnd generate;
    history::Outcome outcome;
};
inline constexpr std::array<EndNames, 7> kEnds{{
    {JobEnd::Succeeded, GenerateEnd::Done, history::Outcome::Done},
    {JobEnd::OutOfMemory, GenerateEnd::OutOfMemory, history::Outcome::OutOfMemory},
    {JobEnd::Failed, GenerateEnd::Failed, history::Outcome::Failed},
    {JobEnd::Cancelled, GenerateEnd::Cancelled, history::Outcome::Cancelled},
    {JobEnd::TimedOut, GenerateEnd::TimedOut, history::Outcome::TimedOut},
    {JobEnd::Lost, GenerateEnd::Lost, history::Outcome::Lost},
    {JobEnd::Left, GenerateEnd::Lost, history::Outcome::Lost},
}};

[[nodiscard]] constexpr GenerateEnd generate_end_of(JobEnd end) {
    return std::ranges::find(kEnds, end, &EndNames::job)->generate;
}
[[nodiscard]] constexpr history::Outcome outcome_of(JobEnd end) {
    return std::ranges::find(kEnds, end, &EndNames::job)->outcome;
}

}  // namespace plimsoll::service
