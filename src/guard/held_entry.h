// SPDX-License-Identifier: Apache-2.0
//
// HeldEntry: a prompt as it waits: the body that is written to the Store, the one that is sent
// where keys may not be written, and where in it the prompt lies.
//
// Enters through: bodies of POST /prompt, HeldJob.   Leaves through: HeldEntry.   Threads: no
// shared state.
#pragma once
#include "base/error.h"
#include "guard/facts.h"
#include "history/held_job.h"
#include "workflow/graph.h"

#include <cstdint>
#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

struct HeldEntry {
    history::HeldJob kept;
    Facts facts = {};
    // With the keys that are not written to disk; empty where there are none (or they were lost in
    // a restart).
    std::string secret_body = {};
    workflow::Span prompt = {};                               // in kept.body
    std::optional<workflow::Span> extra_data = std::nullopt;  // in kept.body
    std::vector<std::string> outputs = {};                    // ids of nodes that nobody reads
    bool unclear = false;  // an earlier process may have sent it: ComfyUI is to be asked first
    bool cleared = false;  // the card was cleared for it once: that is enough
    std::int64_t not_before_ms = 0;
    int passed = 0;

    [[nodiscard]] const std::string& body_to_send() const {
        return secret_body.empty() ? kept.body : secret_body;
    }
};

// Of a body that names its id. Fails where it is no prompt's.
[[nodiscard]] Result<HeldEntry> make_entry(std::string body, std::string prompt_id, Facts facts,
                                           std::int64_t accepted_ms);
// As an earlier process wrote it. Where its body is no prompt's, `prompt` is empty.
[[nodiscard]] HeldEntry read_entry(history::HeldJob job);
// Its prompt is exchanged in both bodies. False, and nothing is changed: that cannot be done.
[[nodiscard]] bool exchange_prompt(
    HeldEntry& entry, const std::function<Result<std::string>(std::string_view prompt)>& change);

}  // namespace plimsoll::guard
