// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/omnigen2.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

Result<Walk> answer_omnigen2(const Question& q) {
    constexpr int kReferencesMax = 5;  // the network can tell no more of them apart
    std::string_view name = q.variant;
    const int references = take_references(name);
    if (references > kReferencesMax) return unknown(q);
    if (references > 0 ? name != "edit" : name != "t2i" && !is_way_of_running(name))
        return unknown(q);
    modelfile::OmniGen2Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_omnigen2(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    for (int i = 0; i < references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
