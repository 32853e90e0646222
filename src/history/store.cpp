// SPDX-License-Identifier: Apache-2.0
#include "history/store.h"

#include "base/text.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <chrono>
#include <cmath>
#include <utility>

namespace plimsoll::history {

namespace {

bool matches(const RunFilter& filter, const RunRecord& run) {
    return (!filter.model || *filter.model == run.model) &&
           (!filter.family || *filter.family == run.family) &&
           (!filter.card || *filter.card == run.card) &&
           (!filter.outcome || *filter.outcome == run.outcome) &&
           (!filter.since_ms || run.started_ms >= *filter.since_ms) &&
           (!filter.before_ms || run.started_ms < *filter.before_ms) &&
           (!filter.text ||
            to_lower_ascii(run.prompt).find(to_lower_ascii(*filter.text)) != std::string::npos);
}

std::string key_of(const RunRecord& run, StatsBy by) {
    if (by == StatsBy::Model) return run.model;
    if (by == StatsBy::Card) return run.card;
    if (by == StatsBy::All) return {};
    using std::chrono::floor;
    const std::chrono::sys_time<std::chrono::milliseconds> start{
        std::chrono::milliseconds(run.started_ms)};
    const std::chrono::year_month_day day(floor<std::chrono::days>(start));
    return fmt::format("{:04}-{:02}-{:02}", static_cast<int>(day.year()),
                       static_cast<unsigned>(day.month()), static_cast<unsigned>(day.day()));
}

// The mean of what was measured.
class Mean {
  public:
    void add(double value) {
        sum_ += value;
        ++count_;
    }
    [[nodiscard]] std::optional<double> value() const {
        if (count_ == 0) return std::nullopt;
        return sum_ / count_;
    }

  private:
    double sum_ = 0;
    int count_ = 0;
};

RunStats summarise(std::string key, const std::vector<const RunRecord*>& runs) {
    RunStats stats{.key = std::move(key), .runs = static_cast<std::int64_t>(runs.size())};
    Mean seconds;
    Mean peak_error;
    Mean seconds_error;
    for (const RunRecord* const run : runs) {
        stats.done += run->outcome == Outcome::Done ? 1 : 0;
        stats.out_of_memory += run->outcome == Outcome::OutOfMemory ? 1 : 0;
        if (run->observed_peak)
            stats.peak_max = std::max(stats.peak_max.value_or(Bytes(0)), *run->observed_peak);
        if (run->outcome != Outcome::Done) continue;
        if (run->observed_seconds) seconds.add(*run->observed_seconds);
        if (run->observed_seconds && *run->observed_seconds > 0)
            seconds_error.add(std::abs(run->forecast_seconds - *run->observed_seconds) /
                              *run->observed_seconds);
        if (run->observed_peak && run->observed_peak->count > 0)
            peak_error.add(
                std::abs(static_cast<double>((run->forecast_peak - *run->observed_peak).count)) /
                static_cast<double>(run->observed_peak->count));
    }
    stats.seconds_mean = seconds.value();
    stats.forecast_peak_error_mean = peak_error.value();
    stats.forecast_seconds_error_mean = seconds_error.value();
    return stats;
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
    if (page.order == Order::OldestFirst) std::ranges::reverse(ordered);
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

Result<std::vector<RunStats>> MemoryStore::stats_of(const RunFilter& filter, StatsBy by) {
    TRY_DO(take_call());
    std::map<std::string, std::vector<const RunRecord*>> groups;
    if (by == StatsBy::All) groups[""] = {};
    for (const RunRecord& run : runs_)
        if (matches(filter, run)) groups[key_of(run, by)].push_back(&run);
    std::vector<RunStats> stats;
    for (const auto& [key, runs] : groups) stats.push_back(summarise(key, runs));
    std::ranges::stable_sort(stats, [by](const RunStats& a, const RunStats& b) {
        return by == StatsBy::Day ? a.key > b.key : a.runs > b.runs;
    });
    if (stats.size() > kStatsGroupsMax) stats.resize(kStatsGroupsMax);
    return stats;
}

Result<void> MemoryStore::keep_job(const KeptJob& job) {
    TRY_DO(take_call());
    const auto same = std::ranges::find(jobs_, job.job_id, &KeptJob::job_id);
    if (same != jobs_.end())
        *same = job;
    else
        jobs_.push_back(job);
    return {};
}

Result<void> MemoryStore::drop_job(std::string_view job_id) {
    TRY_DO(take_call());
    std::erase_if(jobs_, [&](const KeptJob& job) { return job.job_id == job_id; });
    return {};
}

Result<std::vector<KeptJob>> MemoryStore::list_jobs() {
    TRY_DO(take_call());
    std::vector<KeptJob> jobs = jobs_;
    std::ranges::stable_sort(
        jobs, {}, [](const KeptJob& job) { return std::pair(job.submitted_ms, job.job_id); });
    return jobs;
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
