// SPDX-License-Identifier: Apache-2.0
#include "history/store.h"

#include "base/say.h"
#include "base/text.h"
#include "history/search_words.h"
#include "history/sums.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <limits>
#include <ranges>
#include <tuple>
#include <utility>

namespace plimsoll::history {

namespace {

bool matches(const RunFilter& filter, const RunRecord& run) {
    const auto finds = [&] {
        const Search search = Search::of(*filter.text);
        return !search.groups.empty() && search.finds(run.prompt);
    };
    return (!filter.model || *filter.model == run.model) &&
           (!filter.family || *filter.family == run.family) &&
           (!filter.card || *filter.card == run.card) &&
           (!filter.outcome || *filter.outcome == run.outcome) &&
           (!filter.verdict || *filter.verdict == run.verdict) &&
           (!filter.since_ms || run.started_ms >= *filter.since_ms) &&
           (!filter.before_ms || run.started_ms < *filter.before_ms) && (!filter.text || finds());
}

std::string key_of(const RunRecord& run, StatsBy by) {
    if (by == StatsBy::Model) return run.model;
    if (by == StatsBy::Card) return run.card;
    return by == StatsBy::All ? std::string() : day_text(day_of(run.started_ms));
}

bool is_tiled(const RunRecord& run) {
    return std::ranges::find(run.changes, kTileVaeKnob, &ChangeRecord::knob) != run.changes.end();
}

// What settings_sums has for a run; without stats.
SettingsStats settings_of(const RunRecord& run) {
    SettingsStats one;
    one.model = run.model;
    one.card = run.card;
    one.settings = run.settings;
    one.vae_tiled = is_tiled(run);
    one.settings.seed.clear();
    one.settings.quality.clear();
    return one;
}

}  // namespace

std::unexpected<Error> preset_not_found(std::string_view name,
                                        const std::vector<std::string>& known) {
    if (known.empty()) return fail(Errc::NotFound, say<"error.no_preset">(name));
    return fail(Errc::NotFound,
                say<"error.other_presets">(
                    name, fmt::format("{}", fmt::join(nearest_names(name, known, 5), ", "))));
}

Result<void> check_page(const Page& page) {
    if (page.limit < 1 || page.limit > kPageRunsMax)
        return fail(Errc::InvalidInput,
                    fmt::format("limit {} is outside 1 to {}", page.limit, kPageRunsMax));
    return {};
}

Result<void> check_fastest(int most) {
    if (most < 1 || most > kFastestMax)
        return fail(Errc::InvalidInput, fmt::format("{} is outside 1 to {}", most, kFastestMax));
    return {};
}

Result<void> check_at_once(int most) {
    if (most < 1 || most > kRetiredAtOnceMax)
        return fail(Errc::InvalidInput,
                    fmt::format("{} is outside 1 to {}", most, kRetiredAtOnceMax));
    return {};
}

void sort_stats(std::vector<RunStats>& stats, StatsBy by) {
    std::ranges::sort(stats, [by](const RunStats& a, const RunStats& b) {
        if (by == StatsBy::Day) return a.key > b.key;
        return a.runs != b.runs ? a.runs > b.runs : a.key < b.key;
    });
    if (stats.size() > kStatsGroupsMax) stats.resize(kStatsGroupsMax);
}

void sort_settings(std::vector<SettingsStats>& settings) {
    std::ranges::stable_sort(
        settings, {}, [](const SettingsStats& one) { return one.stats.seconds_mean.value_or(0); });
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
    if (found.size() > 1) return fail(Errc::InvalidInput, say<"error.many_runs">(run_id));
    if (found.empty()) return fail(Errc::NotFound, say<"error.no_run">(run_id));
    return *found.front();
}

Result<RunPage> MemoryStore::list_runs(const RunFilter& filter, const Page& page) {
    TRY_DO(take_call());
    TRY_DO(check_page(page));
    std::vector<std::pair<std::int64_t, const RunRecord*>> ordered;
    for (const RunRecord& run : runs_)
        if (matches(filter, run)) ordered.emplace_back(&run - runs_.data(), &run);
    std::ranges::sort(ordered, [&](const auto& a, const auto& b) {
        if (filter.text) return a.first > b.first;
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
    std::map<std::string, RunSums> groups;
    if (by == StatsBy::All) groups[""] = {};
    int left = filter.text ? kSummedByWordsMax : std::numeric_limits<int>::max();
    for (const auto* const runs : {&runs_, &retired_}) {
        if (filter.text && runs == &retired_) continue;  // their words are gone
        for (const RunRecord& run : *runs | std::views::reverse)
            if (matches(filter, run) && left-- > 0) groups[key_of(run, by)].add(RunSums::of(run));
    }
    std::vector<RunStats> stats;
    for (const auto& [key, sums] : groups) stats.push_back(sums.stats(key));
    sort_stats(stats, by);
    return stats;
}

Result<std::vector<SettingsStats>> MemoryStore::fastest_settings(std::string_view model, int most) {
    TRY_DO(take_call());
    TRY_DO(check_fastest(most));
    std::vector<std::pair<SettingsStats, RunSums>> groups;
    std::vector<RunRecord> all = retired_;
    all.insert(all.end(), runs_.begin(), runs_.end());
    for (const RunRecord& run : all) {
        if (run.model != model || run.settings.width <= 0 || run.settings.steps <= 0) continue;
        const SettingsStats same = settings_of(run);
        auto group = std::ranges::find_if(groups, [&](const auto& one) {
            return one.first.card == same.card && one.first.settings == same.settings &&
                   one.first.vae_tiled == same.vae_tiled;
        });
        if (group == groups.end()) group = groups.insert(group, {same, {}});
        group->first.last_ms = std::max(group->first.last_ms, run.started_ms);
        group->second.add(RunSums::of(run));
    }
    std::vector<SettingsStats> found;
    for (auto& [one, sums] : groups) {
        if (sums.seconds.count == 0) continue;
        one.stats = sums.stats("");
        found.push_back(std::move(one));
    }
    sort_settings(found);
    std::map<int, int> taken;
    std::erase_if(found,
                  [&](const SettingsStats& one) { return ++taken[one.settings.steps] > most; });
    return found;
}

Result<std::vector<OldPictures>> MemoryStore::pictures_before(std::int64_t before_ms, int most) {
    TRY_DO(take_call());
    TRY_DO(check_at_once(most));
    std::vector<const RunRecord*> old;
    for (const RunRecord& run : runs_)
        if (run.started_ms < before_ms && !run.images.empty()) old.push_back(&run);
    std::ranges::stable_sort(old, {}, [](const RunRecord* run) { return run->started_ms; });
    if (old.size() > static_cast<std::size_t>(most)) old.resize(static_cast<std::size_t>(most));
    std::vector<OldPictures> pictures;
    for (const RunRecord* const run : old) pictures.push_back({run->run_id, run->images});
    return pictures;
}

Result<void> MemoryStore::forget_pictures(std::string_view run_id) {
    TRY_DO(take_call());
    const auto run = std::ranges::find(runs_, run_id, &RunRecord::run_id);
    if (run == runs_.end()) return fail(Errc::NotFound, say<"error.no_run">(run_id));
    run->images.clear();
    return {};
}

Result<int> MemoryStore::retire_runs(const Retirement& which, int most) {
    TRY_DO(take_call());
    TRY_DO(check_at_once(most));
    std::ranges::stable_sort(runs_, {}, &RunRecord::started_ms);
    const auto kept = static_cast<std::int64_t>(runs_.size());
    int gone = 0;
    while (gone < most && !runs_.empty()) {
        const bool old = which.before_ms && runs_.front().started_ms < *which.before_ms;
        const bool beyond = which.keep_newest && kept - gone > *which.keep_newest;
        if (!old && !beyond) break;
        retired_.push_back(runs_.front());
        runs_.erase(runs_.begin());
        ++gone;
    }
    return gone;
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

Result<void> MemoryStore::keep_held(const HeldJob& job) {
    TRY_DO(take_call());
    held_.insert_or_assign(job.prompt_id, job);
    return {};
}

Result<void> MemoryStore::mark_held(std::span<const HeldChange> changes) {
    TRY_DO(take_call());
    for (const HeldChange& change : changes)
        if (const auto job = held_.find(change.prompt_id); job != held_.end())
            job->second.mark = change.mark;
    return {};
}

Result<void> MemoryStore::drop_held(std::span<const std::string> prompt_ids) {
    TRY_DO(take_call());
    for (const std::string& id : prompt_ids) held_.erase(id);
    return {};
}

Result<std::vector<HeldJob>> MemoryStore::list_held() {
    TRY_DO(take_call());
    std::vector<HeldJob> jobs;
    for (const auto& [id, job] : held_) jobs.push_back(job);
    std::ranges::stable_sort(jobs, {}, [](const HeldJob& job) {
        return std::tuple(-job.mark.priority, job.mark.turn, job.prompt_id);
    });
    return jobs;
}

Result<void> MemoryStore::keep_wall(const Wall& wall) {
    TRY_DO(take_call());
    walls_.insert_or_assign(wall.shape, wall);
    if (walls_.size() > static_cast<std::size_t>(kWallsMax))
        walls_.erase(std::ranges::min_element(
            walls_, {}, [](const auto& one) { return std::pair(one.second.met_ms, one.first); }));
    return {};
}

Result<void> MemoryStore::drop_wall(std::string_view shape) {
    TRY_DO(take_call());
    if (const auto wall = walls_.find(shape); wall != walls_.end()) walls_.erase(wall);
    return {};
}

Result<std::vector<Wall>> MemoryStore::list_walls() {
    TRY_DO(take_call());
    std::vector<Wall> walls;
    for (const auto& [shape, wall] : walls_) walls.push_back(wall);
    std::ranges::stable_sort(walls, {},
                             [](const Wall& wall) { return std::pair(wall.met_ms, wall.shape); });
    return walls;
}

Result<void> MemoryStore::keep_session(const QualitySession& session) {
    TRY_DO(take_call());
    sessions_.insert_or_assign(session.session_id, session);
    return {};
}

Result<std::vector<QualitySession>> MemoryStore::list_sessions() {
    TRY_DO(take_call());
    std::vector<QualitySession> found;
    for (const auto& [id, session] : sessions_) found.push_back(session);
    std::ranges::stable_sort(found, std::ranges::greater{}, &QualitySession::created_ms);
    if (found.size() > static_cast<std::size_t>(kSessionsListedMax))
        found.resize(static_cast<std::size_t>(kSessionsListedMax));
    return found;
}

Result<void> MemoryStore::keep_picture(const QualityPicture& picture) {
    TRY_DO(take_call());
    pictures_.insert_or_assign({picture.session_id, picture.candidate, picture.block}, picture);
    return {};
}

Result<std::vector<QualityPicture>> MemoryStore::list_pictures(std::string_view session_id) {
    TRY_DO(take_call());
    std::vector<QualityPicture> found;
    for (const auto& [key, picture] : pictures_)
        if (picture.session_id == session_id) found.push_back(picture);
    return found;
}

Result<void> MemoryStore::keep_vote(const QualityVote& vote) {
    TRY_DO(take_call());
    votes_.insert_or_assign(vote.vote_id, vote);
    return {};
}

Result<std::vector<QualityVote>> MemoryStore::list_votes(std::string_view session_id) {
    TRY_DO(take_call());
    std::vector<QualityVote> found;
    for (const auto& [id, vote] : votes_)
        if (vote.session_id == session_id) found.push_back(vote);
    std::ranges::stable_sort(found, {}, &QualityVote::voted_ms);
    return found;
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
