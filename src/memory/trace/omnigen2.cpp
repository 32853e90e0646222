// SPDX-License-Identifier: Apache-2.0
#include "memory/networks/dit/omnigen2.h"

#include "base/described.h"
#include "memory/trace/answers.h"

namespace plimsoll::memory::trace {

namespace {

// "edit_2ref": the images' number, up to the five that the network can tell apart; 0 where the
// name is another.
int reference_count(std::string_view name) {
    constexpr std::string_view kPrefix = "edit_";
    constexpr std::string_view kSuffix = "ref";
    if (!name.starts_with(kPrefix) || !name.ends_with(kSuffix) ||
        name.size() != kPrefix.size() + 1 + kSuffix.size())
        return 0;
    const char digit = name[kPrefix.size()];
    return digit >= '1' && digit <= '5' ? digit - '0' : 0;
}

}  // namespace

Result<Walk> answer_omnigen2(const Question& q) {
    const int references = reference_count(q.variant);
    if (references == 0 && q.variant != "t2i" && !is_way_of_running(q.variant)) return unknown(q);
    modelfile::OmniGen2Config config;
    if (q.config != nullptr) TRY_DO(read_described(*q.config, config));
    TRY_ASSIGN(const auto network, build_omnigen2(config));
    TRY_ASSIGN(StepCall call, step_call(q));
    for (int i = 0; i < references; ++i)
        call.references.push_back({1, q.latent_height, q.latent_width});
    return answer_step(q, *network, call);
}

}  // namespace plimsoll::memory::trace
