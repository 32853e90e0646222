// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/hunyuandit.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

// One window of CLIP's tokens and the whole of mT5's: longer texts are not simulated. Version 1.1
// has further conditions.
Result<Walk> answer_hunyuandit(const Question& q) {
    modelfile::HunyuanDitConfig config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    if (!names_network(q.variant, "1.2") || q.types.storage != q.types.compute ||
        q.tokens != config.text_len + config.text_len_t5)
        return unknown(q);
    TRY_ASSIGN(const auto network, build_hunyuandit(config));
    TRY_ASSIGN(const StepCall call, step_call(q));
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
