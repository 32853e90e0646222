// SPDX-License-Identifier: Apache-2.0
//
// SqliteStore: what many runs amount to, from the running summaries. Runs themselves are only
// looked at for a search by words and for the days of which the filter takes a part.
#include "history/sqlite_connection.h"
#include "history/sqlite_filter.h"
#include "history/sqlite_index.h"
#include "history/sqlite_rows.h"
#include "history/sqlite_store.h"

#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <limits>
#include <unordered_map>
#include <utility>

namespace plimsoll::history {

namespace {

constexpr std::int64_t kMsMin = std::numeric_limits<std::int64_t>::min();
constexpr std::int64_t kMsMax = std::numeric_limits<std::int64_t>::max();

// Sums by key: the id of a model or a card, a day, 0 for all.
class Summer {
  public:
    // At most `found_max` runs of a search by words, the newest.
    Summer(Connection& connection, const RunFilter& filter, StatsBy by, std::int64_t found_max)
        : connection_(connection),
          filter_(filter),
          facets_(FacetFilter::of(filter, connection)),
          by_(by),
          found_max_(found_max) {}

    std::unordered_map<std::int64_t, RunSums> sum() {
        if (facets_.finds_nothing) return std::move(groups_);
        if (filter_.text) {
            add_found();
        } else if (facets_.equal.empty() && !filter_.since_ms && !filter_.before_ms) {
            add_totals();
        } else {
            add_days();
        }
        return std::move(groups_);
    }

  private:
    [[nodiscard]] const char* key_column() const {
        static constexpr std::array kColumns{"0", "model", "card", "day"};
        return kColumns.at(static_cast<std::size_t>(by_));
    }

    void add_totals() {
        Prepared select = connection_.prepared(
            fmt::format("SELECT key, {} FROM total_sums WHERE by = ?", sums_columns()));
        select->bind(1, static_cast<int>(by_));
        while (select->executeStep())
            groups_[select->getColumn(0).getInt64()].add(read_sums(*select, 1));
    }

    // Whole days from the summaries, the beginning and the end of others run by run.
    void add_days() {
        std::int64_t first = facets_.since_ms == kMsMin ? kMsMin : day_of(facets_.since_ms);
        std::int64_t last = facets_.before_ms == kMsMax ? kMsMax : day_of(facets_.before_ms) - 1;
        if (first != kMsMin && facets_.since_ms > first * kDayMs) {
            ++first;
            add_runs(facets_.since_ms, std::min(facets_.before_ms, first * kDayMs));
        }
        if (last != kMsMax && last + 1 >= first && facets_.before_ms > (last + 1) * kDayMs)
            add_runs((last + 1) * kDayMs, facets_.before_ms);
        if (by_ == StatsBy::Day) return add_cells("day_sums", "day", first, last);
        // Whole blocks, and the days before and after them.
        const std::int64_t first_block = first == kMsMin ? first : block_of(first - 1) + 1;
        const std::int64_t last_block = last == kMsMax ? last : block_of(last + 1) - 1;
        if (first_block > last_block) return add_cells("day_sums", "day", first, last);
        add_cells("block_sums", "block", first_block, last_block);
        if (first != kMsMin) add_cells("day_sums", "day", first, (first_block << kBlockShift) - 1);
        if (last != kMsMax) add_cells("day_sums", "day", (last_block + 1) << kBlockShift, last);
    }

    void add_cells(const char* table, const char* span, std::int64_t first, std::int64_t last) {
        if (first > last) return;
        const char* const index = std::string_view(table) != "day_sums" ? "NOT INDEXED"
                                  : facets_.has("model") ? "INDEXED BY day_sums_by_model"
                                                         : "NOT INDEXED";
        Prepared select = connection_.prepared(fmt::format(
            "SELECT {}, {} FROM {} {} WHERE {} >= ? AND {} <= ?{} GROUP BY 1", key_column(),
            sums_aggregates(), table, index, span, span, facets_.conditions()));
        select->bind(1, first);
        select->bind(2, last);
        while (select->executeStep())
            if (!select->getColumn(1).isNull())
                groups_[select->getColumn(0).getInt64()].add(read_sums(*select, 1));
    }

    void add_runs(std::int64_t since_ms, std::int64_t before_ms) {
        Prepared select = connection_.prepared(
            fmt::format("SELECT run FROM run_facets WHERE started_ms >= ? AND started_ms < ?{}",
                        facets_.conditions()));
        select->bind(1, since_ms);
        select->bind(2, before_ms);
        while (select->executeStep()) add_run(select->getColumn(0).getInt64());
    }

    void add_found() {
        const std::string query = words_query(filter_, facets_);
        if (query.empty()) return;
        const IdRange ids = ids_between(facets_, connection_);
        Prepared select = connection_.prepared(fmt::format(
            "SELECT {} FROM run_words CROSS JOIN runs ON runs.id = run_words.rowid WHERE run_words "
            "MATCH ? AND run_words.rowid >= ? AND run_words.rowid <= ? ORDER BY run_words.rowid "
            "DESC",
            kSummed));
        select->bind(1, query);
        select->bind(2, ids.low);
        select->bind(3, ids.high);
        for (std::int64_t found = 0; found < found_max_ && select->executeStep();)
            if (add_row(*select)) ++found;
    }

    void add_run(std::int64_t id) {
        Prepared select =
            connection_.prepared(fmt::format("SELECT {} FROM runs WHERE id = ?", kSummed));
        select->bind(1, id);
        if (!select->executeStep())
            throw_corrupt(fmt::format("run number {} is listed and not there", id));
        (void)add_row(*select);
    }

    static constexpr const char* kSummed =
        "runs.started_ms, outcome, forecast_peak_bytes, forecast_seconds, observed_peak_bytes, "
        "observed_seconds, model, card";

    // False where the run began at another time than is asked for.
    bool add_row(SQLite::Statement& row) {
        RunRecord run;
        run.started_ms = row.getColumn(0).getInt64();
        if (run.started_ms < facets_.since_ms || run.started_ms >= facets_.before_ms) return false;
        run.outcome = parse_outcome(row.getColumn(1).getString()).value_or(Outcome::Lost);
        run.forecast_peak = Bytes(row.getColumn(2).getInt64());
        run.forecast_seconds = row.getColumn(3).getDouble();
        if (!row.getColumn(4).isNull()) run.observed_peak = Bytes(row.getColumn(4).getInt64());
        if (!row.getColumn(5).isNull()) run.observed_seconds = row.getColumn(5).getDouble();
        std::int64_t key = 0;
        if (by_ == StatsBy::Day) key = day_of(run.started_ms);
        if (by_ == StatsBy::Model) key = connection_.find_name(row.getColumn(6).getString());
        if (by_ == StatsBy::Card) key = connection_.find_name(row.getColumn(7).getString());
        groups_[key].add(RunSums::of(run));
        return true;
    }

    Connection& connection_;
    const RunFilter& filter_;
    FacetFilter facets_;
    StatsBy by_;
    std::int64_t found_max_;
    std::unordered_map<std::int64_t, RunSums> groups_;
};

// The numbers of steps that were run, from an index: as many look-ups as there are.
std::vector<std::int64_t> steps_of(Connection& connection, std::int64_t model) {
    std::vector<std::int64_t> steps;
    Prepared next = connection.prepared(
        "SELECT steps FROM settings_sums INDEXED BY settings_by_speed WHERE model = ? AND "
        "steps > ? AND seconds_count > 0 ORDER BY steps LIMIT 1");
    for (std::int64_t last = 0;; last = steps.back()) {
        next->reset();
        next->bind(1, model);
        next->bind(2, last);
        if (!next->executeStep()) return steps;
        steps.push_back(next->getColumn(0).getInt64());
    }
}

SettingsStats read_settings(Connection& connection, SQLite::Statement& from) {
    SettingsStats one;
    int at = 0;
    const auto integer = [&] { return from.getColumn(at++).getInt64(); };
    one.model = connection.name_of(integer());
    one.card = connection.name_of(integer());
    for (int* const into :
         {&one.settings.steps, &one.settings.width, &one.settings.height, &one.settings.batch})
        *into = static_cast<int>(integer());
    one.settings.cfg = from.getColumn(at++).getDouble();
    one.settings.sampler = connection.name_of(integer());
    one.settings.scheduler = connection.name_of(integer());
    one.vae_tiled = integer() != 0;
    one.last_ms = integer();
    one.stats = read_sums(from, at).stats("");
    return one;
}

}  // namespace

Result<std::int64_t> SqliteStore::count_runs(const RunFilter& filter) {
    return connection_->within_read([&]() -> Result<std::int64_t> {
        const auto groups = Summer(*connection_, filter, StatsBy::All, kMsMax).sum();
        const auto all = groups.find(0);
        return all == groups.end() ? 0 : all->second.kept;
    });
}

Result<std::vector<RunStats>> SqliteStore::stats_of(const RunFilter& filter, StatsBy by) {
    return connection_->within_read([&]() -> Result<std::vector<RunStats>> {
        const auto groups = Summer(*connection_, filter, by, kSummedByWordsMax).sum();
        std::vector<RunStats> stats;
        for (const auto& [key, sums] : groups) {
            if (by == StatsBy::All || sums.runs <= 0) continue;
            stats.push_back(
                sums.stats(by == StatsBy::Day ? day_text(key) : connection_->name_of(key)));
        }
        if (by == StatsBy::All) {
            const auto all = groups.find(0);
            stats.push_back((all == groups.end() ? RunSums() : all->second).stats(""));
        }
        sort_stats(stats, by);
        return stats;
    });
}

Result<std::vector<SettingsStats>> SqliteStore::fastest_settings(std::string_view model, int most) {
    TRY_DO(check_fastest(most));
    return connection_->within_read([&]() -> Result<std::vector<SettingsStats>> {
        std::vector<SettingsStats> found;
        const std::int64_t id = connection_->find_name(model);
        if (id == 0) return found;
        Prepared select = connection_->prepared(fmt::format(
            "SELECT model, card, steps, width, height, batch, cfg, sampler, scheduler, vae_tiled, "
            "last_ms, {} FROM settings_sums INDEXED BY settings_by_speed WHERE model = ? AND "
            "steps = ? AND seconds_count > 0 ORDER BY seconds_sum / seconds_count, id LIMIT ?",
            sums_columns()));
        for (const std::int64_t steps : steps_of(*connection_, id)) {
            select->reset();
            select->bind(1, id);
            select->bind(2, steps);
            select->bind(3, most);
            while (select->executeStep()) found.push_back(read_settings(*connection_, *select));
        }
        sort_settings(found);
        return found;
    });
}

}  // namespace plimsoll::history
