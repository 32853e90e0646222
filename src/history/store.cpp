// SPDX-License-Identifier: Apache-2.0
#include "history/store.h"

#include "base/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

namespace plimsoll::history {

namespace {

bool matches(const RunFilter& filter, const RunRecord& run) {
    return (!filter.model || *filter.model == run.model) &&
           (!filter.family || *filter.family == run.family) &&
           (!filter.card || *filter.card == run.card) &&
           (!filter.outcome || *filter.outcome == run.outcome) &&
           (!filter.since_ms || run.started_ms >= *filter.since_ms) &&
           (!filter.before_ms || run.started_ms < *filter.before_ms);
}

}  // namespace

std::unexpected<Error> preset_not_found(std::string_view name,
                                        const std::vector<std::string>& known) {
    if (known.empty())
        return fail(
            Errc::NotFound,
            fmt::format("no preset '{}': none is saved yet, see plimsoll presets save", name));
    return fail(Errc::NotFound,
                fmt::format("no preset '{}'; there {}: {}", name, known.size() == 1 ? "is" : "are",
                            fmt::join(nearest_names(name, known, 5), ", ")));
}

Result<void> check_page(const Page& page) {
    if (page.limit < 1 || page.limit > kPageRunsMax)
        return fail(Errc::InvalidInput,
                    fmt::format("limit {} is outside 1 to {}", page.limit, kPageRunsMax));
    return {};
}

Result<void> MemoryStore::take_call() {
    if (calls_until_failure_ < 0) return {};
    --calls_until_failure_;
    if (calls_until_failure_ < 0) return fail(Errc::Unavailable, "the store failed by design");
    return {};
}

Result<void> MemoryStore::record_run(const RunRecord& run) {
    TRY_DO(take_call());
    const auto same = std::ranges::find(runs_, run.run_id, &RunRecord::run_id);
    if (same != runs_.end())
        *same = run;
    else
        runs_.push_back(run);
    return {};
}

Result<RunRecord> MemoryStore::read_run(std::string_view run_id) {
    TRY_DO(take_call());
    std::vector<const RunRecord*> found;
    for (const RunRecord& run : runs_)
        if (!run_id.empty() && run.run_id.starts_with(run_id)) found.push_back(&run);
    if (found.size() > 1)
        return fail(Errc::InvalidInput, fmt::format("more than one run begins with '{}'", run_id));
    if (found.empty())
        return fail(Errc::NotFound, fmt::format("no run '{}', see plimsoll history", run_id));
    return *found.front();
}

Result<RunPage> MemoryStore::list_runs(const RunFilter& filter, const Page& page) {
    TRY_DO(take_call());
    TRY_DO(check_page(page));
    std::vector<std::pair<std::int64_t, const RunRecord*>> ordered;
    for (const RunRecord& run : runs_)
        if (matches(filter, run)) ordered.emplace_back(&run - runs_.data(), &run);
    std::ranges::sort(ordered, [](const auto& a, const auto& b) {
        return std::pair(a.second->started_ms, a.first) > std::pair(b.second->started_ms, b.first);
    });
    RunPage answer;
    const auto begin = static_cast<std::size_t>(page.cursor.value_or(0));
    for (std::size_t i = begin; i < ordered.size(); ++i) {
        if (answer.runs.size() == static_cast<std::size_t>(page.limit)) {
            answer.next = static_cast<std::int64_t>(i);
            break;
        }
        answer.runs.push_back(*ordered[i].second);
    }
    return answer;
}

Result<std::int64_t> MemoryStore::count_runs(const RunFilter& filter) {
    TRY_DO(take_call());
    return std::ranges::count_if(runs_, [&](const RunRecord& run) { return matches(filter, run); });
}

Result<void> MemoryStore::save_preset(const Preset& preset) {
    TRY_DO(take_call());
    TRY_DO(check_preset(preset));
    presets_.insert_or_assign(preset.name, preset);
    return {};
}

Result<Preset> MemoryStore::load_preset(std::string_view name) {
    TRY_DO(take_call());
    if (const auto found = presets_.find(name); found != presets_.end()) return found->second;
    std::vector<std::string> known;
    known.reserve(presets_.size());
    for (const auto& [other, preset] : presets_) known.push_back(other);
    return preset_not_found(name, known);
}

Result<std::vector<Preset>> MemoryStore::list_presets() {
    TRY_DO(take_call());
    std::vector<Preset> presets;
    presets.reserve(presets_.size());
    for (const auto& [name, preset] : presets_) presets.push_back(preset);
    return presets;
}

Result<void> MemoryStore::remove_preset(std::string_view name) {
    TRY_DO(take_call());
    const auto found = presets_.find(name);
    if (found == presets_.end()) {
        std::vector<std::string> known;
        known.reserve(presets_.size());
        for (const auto& [other, preset] : presets_) known.push_back(other);
        return preset_not_found(name, known);
    }
    presets_.erase(found);
    return {};
}

}  // namespace plimsoll::history
