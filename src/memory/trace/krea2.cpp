// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/krea2.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_krea2(const Question& q) {
    if (!is_way_of_running(q.variant) || q.rules.comfyui_minor_key < kComfy033) return unknown(q);
    modelfile::Krea2Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_krea2(config));
    TRY_ASSIGN(const StepCall call, step_call(q));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
