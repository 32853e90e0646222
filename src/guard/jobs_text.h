// SPDX-License-Identifier: Apache-2.0
//
// Splices in ComfyUI's answers to GET /api/jobs and /api/jobs/{id} (newer versions): a job is
// listed once, with what was tried, also where ComfyUI lists the try that failed.
//
// Enters through: bytes.   Leaves through: bytes.   Threads: no shared state.
#pragma once
#include "guard/held_entry.h"
#include "service/comfyui/answers.h"

#include <functional>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::guard {

// A job as ComfyUI lists it. Unknown: in a state that no version names.
struct ListedJob {
    std::string id;
    service::JobState state = service::JobState::Unknown;
    std::optional<service::NodeError> error;
};
// nullopt: it is none.
[[nodiscard]] std::optional<ListedJob> parse_listed_job(std::string_view item);

// One of ours, pending or running, as ComfyUI spells it; where it was tried before, with
// `"plimsoll": {"tries": 1, "events": ["out of memory: ..."]}`.
[[nodiscard]] std::string job_item(const HeldEntry& entry, service::JobState state);

// ComfyUI's {"jobs": [...], "pagination": {...}} without those items that `is_past` says are tries
// of a job that goes on, and with `pending` before the others; those whose id is named already are
// left out. nullopt: it has another form.
[[nodiscard]] std::optional<std::string> with_jobs(
    std::string_view answer, const std::vector<const HeldEntry*>& pending,
    const std::function<bool(const ListedJob&)>& is_past);

}  // namespace plimsoll::guard
