// SPDX-License-Identifier: Apache-2.0
//
// SqliteStore: runs are written, read and listed.
#include "history/run_json.h"
#include "history/sqlite_connection.h"
#include "history/sqlite_filter.h"
#include "history/sqlite_index.h"
#include "history/sqlite_rows.h"
#include "history/sqlite_store.h"

#include "base/say.h"

#include <fmt/format.h>

#include <algorithm>
#include <limits>
#include <utility>

namespace plimsoll::history {

namespace {

using Ids = std::vector<std::int64_t>;

constexpr std::int64_t kMsMin = std::numeric_limits<std::int64_t>::min();

// Where a page begins: behind this run.
struct Behind {
    std::int64_t started_ms = 0;
    std::int64_t id = 0;
};

Result<void> write_run(Connection& connection, const RunRecord& run) {
    {
        Prepared before = connection.prepared(
            fmt::format("SELECT {}, id FROM runs WHERE run_id = ?", kRunColumns));
        before->bind(1, run.run_id);
        if (before->executeStep()) {
            TRY_ASSIGN(const RunRecord old, read_row(*before));
            unindex_run(connection, before->getColumn(kRunColumnCount).getInt64(), old,
                        Leaving::Replaced);
        }
    }
    Prepared upsert = connection.prepared(upsert_run_sql() + " RETURNING id");
    bind_run(*upsert, run);
    upsert->executeStep();
    const std::int64_t id = upsert->getColumn(0).getInt64();
    while (upsert->executeStep()) {
    }
    index_run(connection, id, run);
    return {};
}

// The first id after all that begin with `prefix`; ids are ASCII.
std::string after_prefix(std::string prefix) {
    while (!prefix.empty() && static_cast<unsigned char>(prefix.back()) == 0xff) prefix.pop_back();
    if (!prefix.empty()) ++prefix.back();
    return prefix;
}

class Lister {
  public:
    Lister(Connection& connection, const RunFilter& filter, Order order, std::size_t wanted)
        : connection_(connection),
          filter_(filter),
          facets_(FacetFilter::of(filter, connection)),
          newest_(order == Order::NewestFirst),
          wanted_(wanted) {}

    // One more than wanted when there are more. The cursor is the id of the last run of the page
    // before; when that run is gone since, the page goes on where it would be.
    Ids ids(std::optional<std::int64_t> cursor) {
        if (facets_.finds_nothing) return {};
        if (filter_.text) return by_words(cursor);
        std::optional<Behind> behind;
        if (cursor) behind = find_run(*cursor);
        if (cursor && !behind) return {};
        std::int64_t low = facets_.since_ms;
        std::int64_t high = facets_.before_ms;  // exclusive
        if (behind && newest_ && behind->started_ms < high) high = behind->started_ms + 1;
        if (behind && !newest_) low = std::max(low, behind->started_ms);
        if (facets_.equal.empty())
            take_between(low, high, behind);
        else
            take_by_days(low, high, behind);
        return std::move(ids_);
    }

  private:
    [[nodiscard]] const char* direction() const { return newest_ ? "DESC" : "ASC"; }

    std::optional<Behind> find_run(std::int64_t id) {
        // A cursor of a run that retention has taken: the next one that was recorded.
        Prepared select = connection_.prepared(
            newest_ ? "SELECT started_ms, id FROM runs WHERE id <= ? ORDER BY id DESC LIMIT 1"
                    : "SELECT started_ms, id FROM runs WHERE id >= ? ORDER BY id LIMIT 1");
        select->bind(1, id);
        if (!select->executeStep()) return std::nullopt;
        const std::int64_t found = select->getColumn(1).getInt64();
        // What stands in for it has not been shown yet.
        return Behind{select->getColumn(0).getInt64(),
                      found == id ? found : found + (newest_ ? 1 : -1)};
    }

    // Runs that began in [low, high), up to one more than is wanted.
    void take_between(std::int64_t low, std::int64_t high, const std::optional<Behind>& behind) {
        Prepared select = connection_.prepared(fmt::format(
            "SELECT run, started_ms FROM run_facets WHERE started_ms >= ? AND started_ms < ?{} "
            "ORDER BY started_ms {}, run {}",
            facets_.conditions(), direction(), direction()));
        select->bind(1, low);
        select->bind(2, high);
        while (ids_.size() <= wanted_ && select->executeStep()) {
            const std::int64_t id = select->getColumn(0).getInt64();
            const bool is_same = behind && select->getColumn(1).getInt64() == behind->started_ms;
            if (is_same && (newest_ ? id >= behind->id : id <= behind->id)) continue;
            ids_.push_back(id);
        }
    }

    // Days that have such runs are known from the summaries, and between which starts they lie: a
    // rare combination of filters does not look at the days in between.
    void take_by_days(std::int64_t low, std::int64_t high, const std::optional<Behind>& behind) {
        const char* const index = days_index();
        Prepared days = connection_.prepared(fmt::format(
            "SELECT day, min(started_least), max(started_most) FROM day_sums {} WHERE kept > 0 "
            "AND day >= ? AND day <= ?{} GROUP BY day ORDER BY day {}",
            index, facets_.conditions(), direction()));
        days->bind(1, low == kMsMin ? low : day_of(low));
        days->bind(2, day_of(high));
        while (ids_.size() <= wanted_ && days->executeStep())
            take_between(std::max(low, days->getColumn(1).getInt64()),
                         std::min(high, days->getColumn(2).getInt64() + 1), behind);
    }

    // What narrows most: nearly all runs are done, most cards are used for years.
    [[nodiscard]] const char* days_index() const {
        if (filter_.outcome && *filter_.outcome != Outcome::Done)
            return "INDEXED BY day_sums_by_outcome";
        if (filter_.model) return "INDEXED BY day_sums_by_model";
        if (filter_.card) return "INDEXED BY day_sums_by_card";
        return "NOT INDEXED";
    }

    // In the order of recording: that of the list of each word.
    Ids by_words(std::optional<std::int64_t> cursor) {
        const std::string query = words_query(filter_, facets_);
        if (query.empty()) return {};
        auto [low, high] = ids_between(facets_, connection_);
        if (cursor && newest_) high = std::min(high, *cursor - 1);
        if (cursor && !newest_) low = std::max(low, *cursor + 1);
        Prepared select = connection_.prepared(fmt::format(
            "SELECT run_words.rowid, runs.started_ms FROM run_words JOIN runs ON runs.id = "
            "run_words.rowid WHERE run_words MATCH ? AND run_words.rowid >= ? AND "
            "run_words.rowid <= ? ORDER BY run_words.rowid {}",
            direction()));
        select->bind(1, query);
        select->bind(2, low);
        select->bind(3, high);
        while (ids_.size() <= wanted_ && select->executeStep()) {
            const std::int64_t started_ms = select->getColumn(1).getInt64();
            if (started_ms >= facets_.since_ms && started_ms < facets_.before_ms)
                ids_.push_back(select->getColumn(0).getInt64());
        }
        return std::move(ids_);
    }

    Connection& connection_;
    const RunFilter& filter_;
    FacetFilter facets_;
    bool newest_;
    std::size_t wanted_;
    Ids ids_;
};

Result<RunRecord> read_by_id(Connection& connection, std::int64_t id) {
    Prepared select =
        connection.prepared(fmt::format("SELECT {} FROM runs WHERE id = ?", kRunColumns));
    select->bind(1, id);
    if (!select->executeStep())
        throw_corrupt(fmt::format("run number {} is listed and not there", id));
    return read_row(*select);
}

}  // namespace

Result<void> SqliteStore::record_run(const RunRecord& run) {
    return record_runs(std::span(&run, 1));
}

Result<void> SqliteStore::record_runs(std::span<const RunRecord> runs) {
    return connection_->within_write([&]() -> Result<void> {
        for (const RunRecord& run : runs) TRY_DO(write_run(*connection_, run));
        return {};
    });
}

Result<RunRecord> SqliteStore::read_run(std::string_view run_id) {
    return connection_->guarded([&]() -> Result<RunRecord> {
        Prepared select = connection_->prepared(fmt::format(
            "SELECT {} FROM runs WHERE run_id >= ? AND run_id < ? ORDER BY run_id LIMIT 2",
            kRunColumns));
        select->bind(1, std::string(run_id));
        select->bind(2, after_prefix(std::string(run_id)));
        if (run_id.empty() || !select->executeStep())
            return fail(Errc::NotFound, say<"error.no_run">(run_id));
        TRY_ASSIGN(RunRecord run, read_row(*select));
        if (run.run_id != run_id && select->executeStep())
            return fail(Errc::InvalidInput, say<"error.many_runs">(run_id));
        return run;
    });
}

Result<RunPage> SqliteStore::list_runs(const RunFilter& filter, const Page& page) {
    TRY_DO(check_page(page));
    return connection_->within_read([&]() -> Result<RunPage> {
        const auto wanted = static_cast<std::size_t>(page.limit);
        const Ids ids = Lister(*connection_, filter, page.order, wanted).ids(page.cursor);
        RunPage answer;
        for (std::size_t i = 0; i < std::min(wanted, ids.size()); ++i) {
            TRY_ASSIGN(RunRecord run, read_by_id(*connection_, ids[i]));
            answer.runs.push_back(std::move(run));
        }
        if (ids.size() > wanted) answer.next = ids[wanted - 1];
        return answer;
    });
}

Result<bool> SqliteStore::has_run(const std::string& run_id) {
    return connection_->guarded([&]() -> Result<bool> {
        Prepared select = connection_->prepared("SELECT 1 FROM runs WHERE run_id = ?");
        select->bind(1, run_id);
        return select->executeStep();
    });
}

Result<std::vector<OldPictures>> SqliteStore::pictures_before(std::int64_t before_ms, int most) {
    TRY_DO(check_at_once(most));
    return connection_->within_read([&]() -> Result<std::vector<OldPictures>> {
        Prepared select = connection_->prepared(
            "SELECT run_id, images FROM runs INDEXED BY runs_with_images WHERE images <> '[]' AND "
            "started_ms < ? ORDER BY started_ms, id LIMIT ?");
        select->bind(1, before_ms);
        select->bind(2, most);
        std::vector<OldPictures> pictures;
        while (select->executeStep()) {
            TRY_ASSIGN(auto images, parse_images(select->getColumn(1).getString()));
            pictures.push_back({select->getColumn(0).getString(), std::move(images)});
        }
        return pictures;
    });
}

// Neither facets nor sums nor words know of pictures.
Result<void> SqliteStore::forget_pictures(std::string_view run_id) {
    return connection_->within_write([&]() -> Result<void> {
        Prepared update = connection_->prepared("UPDATE runs SET images = '[]' WHERE run_id = ?");
        update->bind(1, std::string(run_id));
        if (update->exec() == 0) return fail(Errc::NotFound, say<"error.no_run">(run_id));
        return {};
    });
}

Result<int> SqliteStore::retire_runs(const Retirement& which, int most) {
    TRY_DO(check_at_once(most));
    return connection_->within_write([&]() -> Result<int> {
        std::int64_t beyond = 0;  // more than may be kept
        if (which.keep_newest) {
            Prepared total = connection_->prepared("SELECT kept FROM total_sums WHERE by = 0");
            if (total->executeStep()) beyond = total->getColumn(0).getInt64() - *which.keep_newest;
        }
        Ids ids;
        {
            Prepared oldest = connection_->prepared(
                "SELECT run, started_ms FROM run_facets ORDER BY started_ms, run LIMIT ?");
            oldest->bind(1, most);
            while (oldest->executeStep()) {
                const bool old =
                    which.before_ms && oldest->getColumn(1).getInt64() < *which.before_ms;
                if (!old && static_cast<std::int64_t>(ids.size()) >= beyond) break;
                ids.push_back(oldest->getColumn(0).getInt64());
            }
        }
        for (const std::int64_t id : ids) {
            TRY_ASSIGN(const RunRecord run, read_by_id(*connection_, id));
            unindex_run(*connection_, id, run, Leaving::Retired);
            Prepared remove = connection_->prepared("DELETE FROM runs WHERE id = ?");
            remove->bind(1, id);
            remove->exec();
        }
        return static_cast<int>(ids.size());
    });
}

}  // namespace plimsoll::history
