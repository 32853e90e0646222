// SPDX-License-Identifier: Apache-2.0
#include "service/pace.h"

#include <algorithm>
#include <map>
#include <optional>
#include <utility>

namespace plimsoll::service {

namespace {

// Chosen: a machine has one card or two; a wish for another that is told in passing is forgotten.
constexpr std::size_t kCardsMax = 16;
// Of a node without steps it is not known whether it loaded: half of the loading is taken off, and
// where that could be wrong by more than this share of the work, nothing is learned.
constexpr double kLoadShareMax = 0.2;  // chosen: half of it is the spread between jobs

std::optional<timing::TimedWork> timed_work(const history::PhaseRecord& phase) {
    if (!phase.forecast_load_seconds || !(phase.pace > 0)) return std::nullopt;
    const double load = *phase.forecast_load_seconds;
    const double table = (phase.forecast_seconds - load) / phase.pace;
    if (!(table > 0)) return std::nullopt;
    if (phase.observed_step_seconds)
        return timing::TimedWork{.kind = phase.kind,
                                 .table_seconds = table,
                                 .observed_seconds = *phase.observed_step_seconds};
    if (!phase.observed_seconds || load > kLoadShareMax * table) return std::nullopt;
    return timing::TimedWork{.kind = phase.kind,
                             .table_seconds = table,
                             .observed_seconds = *phase.observed_seconds - load / 2};
}

}  // namespace

timing::TimedRun timed_run_of(const history::RunRecord& run) {
    timing::TimedRun timed{.family = run.family.empty() ? run.checkpoint : run.family, .works = {}};
    if (run.outcome != history::Outcome::Done) return timed;
    for (const history::PhaseRecord& phase : run.phases) {
        const auto work = timed_work(phase);
        if (!work) continue;
        const auto same = std::ranges::find(timed.works, work->kind, &timing::TimedWork::kind);
        if (same == timed.works.end()) {
            timed.works.push_back(*work);
        } else {
            same->table_seconds += work->table_seconds;
            same->observed_seconds += work->observed_seconds;
        }
    }
    return timed;
}

Result<timing::Paces> read_paces(history::Store& store, const std::string& card) {
    history::RunFilter filter;
    filter.card = card;
    filter.outcome = history::Outcome::Done;
    TRY_ASSIGN(const history::RunPage page,
               store.list_runs(filter, {.limit = static_cast<int>(timing::kPaceRunsMax)}));
    std::vector<timing::TimedRun> runs;
    for (const history::RunRecord& run : page.runs) runs.push_back(timed_run_of(run));
    return timing::learn_paces(runs);
}

timing::SharedPaces PaceBook::paces_of(const std::string& card) {
    const std::lock_guard lock(mutex_);
    const std::uint64_t now = recorded_;
    if (const auto page = pages_.find(card); page != pages_.end() && page->second.read_at == now)
        return page->second.paces;
    timing::SharedPaces paces;
    if (const auto store = open_store_(); store && *store) {
        auto read = read_paces(**store, card);
        if (read && read->learned())
            paces = std::make_shared<const timing::Paces>(std::move(*read));
    }
    if (pages_.size() >= kCardsMax) pages_.clear();
    pages_[card] = {.read_at = now, .paces = paces};
    return paces;
}

}  // namespace plimsoll::service
