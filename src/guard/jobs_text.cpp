// SPDX-License-Identifier: Apache-2.0
#include "guard/jobs_text.h"

#include "base/json.h"
#include "base/text.h"
#include "gateway/comfyui_text.h"
#include "guard/body_text.h"
#include "workflow/json_scanner.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <set>
#include <utility>

namespace plimsoll::guard {

namespace {

using gateway::quote_json;
using service::JobState;
using workflow::JsonScanner;
using workflow::Span;

JobState parse_job_state(std::string_view status) {
    if (status == "pending") return JobState::Pending;
    if (status == "in_progress") return JobState::Running;
    if (status == "completed") return JobState::Succeeded;
    if (status == "failed") return JobState::Failed;
    if (status == "cancelled") return JobState::Interrupted;
    return JobState::Unknown;
}

// The array of jobs and its items.
struct Items {
    Span whole;
    std::vector<Span> each;
};
std::optional<Items> items_of(std::string_view answer) {
    const auto jobs = find_member(answer, 0, "jobs");
    if (!jobs || answer[jobs->begin] != '[') return std::nullopt;
    Items items{.whole = *jobs, .each = {}};
    JsonScanner scanner(answer);
    scanner.move_to(jobs->begin);
    const auto read = scanner.scan_array([&](std::size_t) -> Result<void> {
        (void)scanner.peek();  // skips white space
        TRY_ASSIGN(const Span item, scanner.skip_value());
        items.each.push_back(item);
        return {};
    });
    return read ? std::optional(std::move(items)) : std::nullopt;
}

// `pagination.total`, where there is one, with so many more.
std::string with_total(std::string answer, std::int64_t more) {
    const auto pages = find_member(answer, 0, "pagination");
    const auto total = pages ? find_member(answer, pages->begin, "total") : std::nullopt;
    const auto count = total ? parse_integer(part(answer, *total)) : std::nullopt;
    if (!count) return answer;
    return spliced(answer, *total, fmt::format("{}", std::max<std::int64_t>(0, *count + more)));
}

}  // namespace

std::optional<ListedJob> parse_listed_job(std::string_view item) {
    const auto parsed = parse_python_json(item);
    const auto id = parsed ? find_string(*parsed, "id") : std::nullopt;
    const auto status = parsed ? find_string(*parsed, "status") : std::nullopt;
    if (!id || !status) return std::nullopt;
    ListedJob job{.id = std::string(*id), .state = parse_job_state(*status), .error = std::nullopt};
    if (const json::value* const error = plimsoll::find(*parsed, "execution_error");
        error != nullptr && error->is_object())
        job.error = service::node_error_of(*error);
    return job;
}

std::string job_item(const HeldEntry& entry, JobState state) {
    std::string tried;
    if (entry.kept.mark.attempts > 0) {
        std::vector<std::string> events;
        for (const Phrase& event : entry.facts.events)
            events.push_back(quote_json(event.message()));
        tried = fmt::format(R"(, "plimsoll": {{"tries": {}, "events": [{}]}})",
                            entry.kept.mark.attempts, fmt::join(events, ", "));
    }
    return fmt::format(R"({{"id": {}, "status": "{}", "priority": {}, "create_time": {}, )"
                       R"("outputs_count": 0{}}})",
                       quote_json(entry.kept.prompt_id),
                       state == JobState::Running ? "in_progress" : "pending", entry.facts.number,
                       entry.kept.accepted_ms, tried);
}

std::optional<std::string> with_jobs(std::string_view answer,
                                     const std::vector<const HeldEntry*>& pending,
                                     const std::function<bool(const ListedJob&)>& is_past) {
    const auto items = items_of(answer);
    if (!items) return std::nullopt;
    std::vector<std::string_view> left;
    std::set<std::string, std::less<>> named;
    for (const Span& span : items->each) {
        const std::string_view item = part(answer, span);
        const auto job = parse_listed_job(item);
        if (job && is_past(*job)) continue;
        if (job) named.insert(job->id);
        left.push_back(item);
    }
    std::vector<std::string> ours;
    for (const HeldEntry* const entry : pending)
        if (!named.contains(entry->kept.prompt_id))
            ours.push_back(job_item(*entry, JobState::Pending));
    const auto more = static_cast<std::int64_t>(ours.size() + left.size()) -
                      static_cast<std::int64_t>(items->each.size());
    if (ours.empty() && more == 0) return std::string(answer);
    const std::string_view between = !ours.empty() && !left.empty() ? ", " : "";
    return with_total(
        spliced(answer, items->whole,
                fmt::format("[{}{}{}]", fmt::join(ours, ", "), between, fmt::join(left, ", "))),
        more);
}

}  // namespace plimsoll::guard
