// SPDX-License-Identifier: Apache-2.0
//
// Texts in ComfyUI's own spelling: JSON as Python's json.dumps writes it (", " and ": ", everything
// but ASCII escaped), its answers to POST /prompt. Pure.
#pragma once
#include "gateway/prompt_hook.h"

#include <string>
#include <string_view>

namespace plimsoll::gateway {

// "text" with its quotes; bytes that are not UTF-8 become U+FFFD.
[[nodiscard]] std::string quote_json(std::string_view text);

// {"error": {...}, "node_errors": {...}}
[[nodiscard]] Answer encode_refusal(const Refusal& refusal);
// {"prompt_id": "...", "number": 3, "node_errors": {}}
[[nodiscard]] Answer encode_held(const Hold& hold);

// ComfyUI's 200 answer to a prompt with `node_errors` in place of its empty one; the text as it is
// where it already names errors or has another form.
[[nodiscard]] std::string with_node_errors(std::string_view answer, std::string_view node_errors);

// A status message with `more` added to its queue_remaining, all other bytes as they are; nullopt:
// no status message, or nothing to add. Cheap on messages of other types.
[[nodiscard]] std::optional<std::string> raise_queue_remaining(std::string_view message,
                                                               std::int64_t more);
// Whether a text tells where a run begins, which node it does, or how it ended: `executing`,
// `executed`, `execution_...`. Cheap: looks at its beginning.
[[nodiscard]] bool is_about_a_run(std::string_view message);
// The "sid" of a first status message.
[[nodiscard]] std::optional<std::string> sid_of_status(std::string_view message);

}  // namespace plimsoll::gateway
