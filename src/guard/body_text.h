// SPDX-License-Identifier: Apache-2.0
//
// Splices in a body of POST /prompt and in ComfyUI's answers about its queue: everything that is
// not changed stays byte for byte.
//
// Enters through: bytes.   Leaves through: bytes.   Threads: no shared state.
#pragma once
#include "base/error.h"
#include "gateway/prompt_body.h"
#include "guard/held_queue.h"

#include <cstddef>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

[[nodiscard]] std::string_view part(std::string_view text, const workflow::Span& span);

[[nodiscard]] std::string spliced(std::string_view text, const workflow::Span& span,
                                  std::string_view with);
// Where the value of the key lies in the object that begins there; the last of its name, as Python
// reads it. nullopt: no object, or no such key.
[[nodiscard]] std::optional<workflow::Span> find_member(std::string_view text, std::size_t at,
                                                        std::string_view key);

// The body with the id put in, or as it is where it names one already. The body has at least one
// member: its prompt.
[[nodiscard]] std::string with_prompt_id(std::string_view body, const gateway::PromptBody& fields,
                                         const std::string& prompt_id);
// With another prompt in its place.
[[nodiscard]] std::string with_prompt(std::string_view body, const gateway::PromptBody& fields,
                                      std::string_view prompt);
// With `null` in place of the keys that nobody may write to a disk
// (extra_data.auth_token_comfy_org, extra_data.api_key_comfy_org); nullopt: there are none.
[[nodiscard]] Result<std::optional<std::string>> without_secrets(std::string_view body,
                                                                 const gateway::PromptBody& fields);

// [number, "id", {prompt}, {extra_data}, ["9"]] as ComfyUI's /queue has it.
[[nodiscard]] std::string queue_item(const HeldEntry& entry);
// ComfyUI's answer to GET /queue with these entries behind its own pending ones; those whose id it
// names already are left out. nullopt: it has another form.
[[nodiscard]] std::optional<std::string> with_pending(std::string_view answer,
                                                      const std::vector<const HeldEntry*>& held);
// {"exec_info": {"queue_remaining": N}} with `more` added.
[[nodiscard]] std::optional<std::string> with_remaining(std::string_view answer, std::int64_t more);
// {"a": ..} with `"key": value` put in as its last member.
[[nodiscard]] std::optional<std::string> with_member(std::string_view object, std::string_view key,
                                                     std::string_view value);
// How many members it has; 0: none, or no object.
[[nodiscard]] std::size_t count_members(std::string_view object);
// Without the oldest ones, which come first, so that so many are left. nullopt: no object.
[[nodiscard]] std::optional<std::string> with_newest_members(std::string_view object,
                                                             std::size_t count);
// Without the member of that name; as it is where there is none.
[[nodiscard]] std::optional<std::string> without_member(std::string_view object,
                                                        std::string_view key);
// An answer of /history without what that node put out for that prompt.
[[nodiscard]] std::string without_output(std::string_view answer, std::string_view prompt_id,
                                         std::string_view node_id);

// WebSocket texts in ComfyUI's spelling.
[[nodiscard]] std::string status_message(std::int64_t queue_remaining);
// What an owner hears of a job that ends without having run: a start, an error on the node, the
// end.
struct LateFailure {
    std::string prompt_id;
    std::string node_id;
    std::string class_type;
    std::string message;
    std::string exception_type = "plimsoll.Quarantined";
    std::int64_t at_ms = 0;
};
[[nodiscard]] std::vector<std::string> failure_messages(const LateFailure& failure);
// The entry that /history has of it: {"prompt": [...], "outputs": {}, "status": {...}, "meta": {}}.
[[nodiscard]] std::string history_item(const LateFailure& failure, const HeldEntry& entry);

}  // namespace plimsoll::guard
