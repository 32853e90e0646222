// SPDX-License-Identifier: Apache-2.0
//
// Call: a prompt that is being decided on: what its client wants, what the check said, and the body
// that goes on. Lives as long as the decision.
#pragma once
#include "base/error.h"
#include "gateway/prompt_hook.h"
#include "guard/check.h"
#include "guard/policy.h"

#include <optional>
#include <string>

namespace plimsoll::guard {

struct Call {
    gateway::PromptCall& prompt;
    gateway::PromptBody fields;
    Wishes wishes = {};
    std::string id = {};
    std::string body = {};  // as it will be sent
    Checked checked = {};
    std::optional<Error> unchecked = std::nullopt;  // why there is no forecast
    bool needs_clear = false;  // what earlier jobs left would lift it over the line
};

}  // namespace plimsoll::guard
