// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hidream.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

// The variant says how the experts were taken to be loaded.
Result<Walk> answer_hidream(const Question& q) {
    const bool balanced = q.variant == "moe_balanced";
    if (!balanced && q.variant != "moe_worst") return unknown(q);
    modelfile::HiDreamConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network,
               build_hidream(config, balanced ? ExpertLoad::Balanced : ExpertLoad::Worst));
    TRY_ASSIGN(const StepCall call, step_call(q));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
