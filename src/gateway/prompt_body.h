// SPDX-License-Identifier: Apache-2.0
//
// The fields of a POST /prompt body that decide where it goes and what its answer is. Each knows
// where its bytes lie, so that an edit is a splice and everything else stays byte for byte. Read as
// ComfyUI reads it: whatever the Content-Type says, a later duplicate of a key replaces the earlier
// one, NaN and Infinity are numbers. Input is untrusted.
//
// Enters through: bytes.   Leaves through: PromptBody.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "workflow/graph.h"

#include <cstddef>
#include <optional>
#include <string>
#include <string_view>

namespace plimsoll::gateway {

struct PromptBody {
    workflow::Span whole;                      // the object, its braces included
    std::optional<workflow::Span> prompt;      // the value of "prompt"
    std::optional<workflow::Span> extra_data;  // the value of "extra_data"
    // "client_id", where it is text: at the top or, as ComfyUI also reads it, in extra_data.
    std::optional<std::string> client_id;
    std::optional<std::string> prompt_id;  // where it is text
    std::optional<workflow::Span> prompt_id_span;
    std::optional<std::string> number;  // the JSON text: "3", "7.0", "NaN"
    bool front = false;                 // "front": true
    // "partial_execution_targets" where it is a list of texts.
    std::optional<workflow::Span> targets;
};

// Corrupt: no JSON (or bytes that are not UTF-8). InvalidInput: JSON that is no object.
// LimitExceeded: nested too deep.
[[nodiscard]] Result<PromptBody> parse_prompt_body(std::string_view bytes);

}  // namespace plimsoll::gateway
