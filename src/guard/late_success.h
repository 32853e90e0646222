// SPDX-License-Identifier: Apache-2.0
//
// What is said of a job that ComfyUI did and could not tell of any more, in ComfyUI's spelling: the
// messages that did not come, and the entry that its history would have.
//
// Enters through: NodeFiles.   Leaves through: JSON texts.   Threads: no shared state.
#pragma once
#include "guard/held_queue.h"
#include "guard/written_work.h"

#include <cstdint>
#include <string>
#include <vector>

namespace plimsoll::guard {

struct LateSuccess {
    std::string prompt_id;
    NodeFiles outputs;  // of nodes that put out pictures
    std::int64_t at_ms = 0;
};
// A start, what each node has put out, success, the end.
[[nodiscard]] std::vector<std::string> success_messages(const LateSuccess& success);
// {"prompt": [...], "outputs": {...}, "status": {...}, "meta": {...}}
[[nodiscard]] std::string history_item(const LateSuccess& success, const HeldEntry& entry);

}  // namespace plimsoll::guard
