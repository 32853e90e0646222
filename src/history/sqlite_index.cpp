// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_index.h"

#include "base/log.h"
#include "history/search_words.h"
#include "history/sqlite_rows.h"

#include <fmt/format.h>

#include <algorithm>
#include <type_traits>
#include <utility>
#include <vector>

namespace plimsoll::history {

namespace {

struct Facets {
    std::int64_t day = 0;
    std::int64_t model = 0;
    std::int64_t card = 0;
    std::int64_t family = 0;
    std::int64_t verdict = 0;
    std::int64_t outcome = 0;
    std::int64_t settings = 0;  // 0: a workflow of the user's own, no settings to use again
};

std::string list_columns(const char* (*shape)(Growth)) {
    std::string list;
    RunSums sums;
    for_each_column(sums, [&](const char* name, Growth growth, auto&) {
        list += list.empty() ? "" : ", ";
        list += fmt::format(fmt::runtime(shape(growth)), name);
    });
    return list;
}

// ", runs = runs + excluded.runs, ...": min and max of SQLite are NULL as soon as one is.
const std::string& growing() {
    static const std::string sql = list_columns([](Growth growth) {
        switch (growth) {
            case Growth::Least:
                return "{0} = min(ifnull({0}, excluded.{0}), ifnull(excluded.{0}, {0}))";
            case Growth::Most:
                return "{0} = max(ifnull({0}, excluded.{0}), ifnull(excluded.{0}, {0}))";
            case Growth::Sum:
                break;
        }
        return "{0} = {0} + excluded.{0}";
    });
    return sql;
}

std::string marks() {
    return list_columns([](Growth) { return "?"; });
}

int bind_sums(SQLite::Statement& to, int at, const RunSums& sums) {
    for_each_column(sums, [&](const char*, Growth, const auto& member) {
        if constexpr (std::is_same_v<std::remove_cvref_t<decltype(member)>,
                                     std::optional<double>>) {
            if (member) to.bind(at, *member);
        } else {
            to.bind(at, member);
        }
        ++at;
    });
    return at;
}

bool is_tiled(const RunRecord& run) {
    return std::ranges::any_of(
        run.changes, [](const ChangeRecord& change) { return change.knob == kTileVaeKnob; });
}

// The row of settings_sums, made when these settings are new; 0 for a workflow of the user's own.
std::int64_t take_settings(Connection& connection, const RunRecord& run, const Facets& facets) {
    const Settings& s = run.settings;
    if (s.width <= 0 || s.steps <= 0) return 0;
    static const std::string kInsert = fmt::format(
        "INSERT INTO settings_sums (model, card, steps, width, height, batch, cfg, sampler, "
        "scheduler, vae_tiled, last_ms, {}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, ?, ?, ?, {}) "
        "ON CONFLICT DO UPDATE SET last_ms = max(last_ms, excluded.last_ms) RETURNING id",
        sums_columns(), marks());
    Prepared insert = connection.prepared(kInsert);
    int at = 1;
    for (const std::int64_t key : {facets.model, facets.card}) insert->bind(at++, key);
    for (const int key : {s.steps, s.width, s.height, s.batch}) insert->bind(at++, key);
    insert->bind(at++, s.cfg);
    insert->bind(at++, connection.take_name(s.sampler));
    insert->bind(at++, connection.take_name(s.scheduler));
    insert->bind(at++, is_tiled(run) ? 1 : 0);
    insert->bind(at++, run.started_ms);
    bind_sums(*insert, at, {});
    insert->executeStep();
    const std::int64_t id = insert->getColumn(0).getInt64();
    while (insert->executeStep()) {
    }
    return id;
}

Facets take_facets(Connection& connection, const RunRecord& run) {
    Facets facets{.day = day_of(run.started_ms),
                  .model = connection.take_name(run.model),
                  .card = connection.take_name(run.card),
                  .family = connection.take_name(run.family),
                  .verdict = connection.take_name(run.verdict),
                  .outcome = static_cast<std::int64_t>(run.outcome)};
    facets.settings = take_settings(connection, run, facets);
    return facets;
}

void add_to_days(Connection& connection, const Facets& f, std::int64_t started_ms,
                 const RunSums& sums) {
    static const std::string kUpsert = fmt::format(
        "INSERT INTO day_sums (day, model, card, family, verdict, outcome, started_least, "
        "started_most, {}) VALUES (?, ?, ?, ?, ?, ?, ?, ?, {}) ON CONFLICT DO UPDATE SET "
        "started_least = min(started_least, excluded.started_least), "
        "started_most = max(started_most, excluded.started_most), {}",
        sums_columns(), marks(), growing());
    Prepared upsert = connection.prepared(kUpsert);
    int at = 1;
    for (const std::int64_t key :
         {f.day, f.model, f.card, f.family, f.verdict, f.outcome, started_ms, started_ms})
        upsert->bind(at++, key);
    bind_sums(*upsert, at, sums);
    upsert->exec();
}

void add_to_blocks(Connection& connection, const Facets& f, const RunSums& sums) {
    static const std::string kUpsert = fmt::format(
        "INSERT INTO block_sums (block, model, card, family, verdict, outcome, {}) VALUES "
        "(?, ?, ?, ?, ?, ?, {}) ON CONFLICT DO UPDATE SET {}",
        sums_columns(), marks(), growing());
    Prepared upsert = connection.prepared(kUpsert);
    int at = 1;
    for (const std::int64_t key :
         {block_of(f.day), f.model, f.card, f.family, f.verdict, f.outcome})
        upsert->bind(at++, key);
    bind_sums(*upsert, at, sums);
    upsert->exec();
}

void add_to_totals(Connection& connection, const Facets& f, std::int64_t id, const RunSums& sums) {
    static const std::string kUpsert = fmt::format(
        "INSERT INTO total_sums (by, key, run_least, run_most, {}) VALUES (?, ?, ?, ?, {}) "
        "ON CONFLICT DO UPDATE SET run_least = min(run_least, excluded.run_least), "
        "run_most = max(run_most, excluded.run_most), {}",
        sums_columns(), marks(), growing());
    for (const auto& [by, key] :
         {std::pair(StatsBy::All, std::int64_t{0}), std::pair(StatsBy::Model, f.model),
          std::pair(StatsBy::Card, f.card), std::pair(StatsBy::Day, f.day)}) {
        Prepared upsert = connection.prepared(kUpsert);
        upsert->bind(1, static_cast<int>(by));
        upsert->bind(2, key);
        upsert->bind(3, id);
        upsert->bind(4, id);
        bind_sums(*upsert, 5, sums);
        upsert->exec();
    }
}

void add_to_settings(Connection& connection, std::int64_t settings, const RunSums& sums) {
    if (settings == 0) return;
    static const std::string kUpdate = [] {
        std::string assignments;
        int mark = 1;
        RunSums any;
        for_each_column(any, [&](const char* name, Growth growth, auto&) {
            const char* const shape =
                growth == Growth::Least  ? "{0} = min(ifnull({0}, ?{1}), ifnull(?{1}, {0}))"
                : growth == Growth::Most ? "{0} = max(ifnull({0}, ?{1}), ifnull(?{1}, {0}))"
                                         : "{0} = {0} + ?{1}";
            assignments += assignments.empty() ? "" : ", ";
            assignments += fmt::format(fmt::runtime(shape), name, mark++);
        });
        return fmt::format("UPDATE settings_sums SET {} WHERE id = ?{}", assignments, mark);
    }();
    Prepared update = connection.prepared(kUpdate);
    const int at = bind_sums(*update, 1, sums);
    update->bind(at, settings);
    update->exec();
}

void add_to_sums(Connection& connection, const Facets& facets, std::int64_t id,
                 std::int64_t started_ms, const RunSums& sums) {
    add_to_days(connection, facets, started_ms, sums);
    add_to_blocks(connection, facets, sums);
    add_to_totals(connection, facets, id, sums);
    add_to_settings(connection, facets.settings, sums);
}

std::string facet_words(const Facets& f) {
    return fmt::format("m{} c{} f{} v{} o{}", f.model, f.card, f.family, f.verdict, f.outcome);
}

// A table without content is told what to forget.
void write_words(Connection& connection, const char* sql, std::int64_t id, const RunRecord& run,
                 const Facets& facets) {
    Prepared statement = connection.prepared(sql);
    statement->bind(1, id);
    statement->bind(2, searchable(run.prompt));
    statement->bind(3, facet_words(facets));
    statement->exec();
}

constexpr const char* kExtremes =
    "min(CASE WHEN r.outcome = 'done' THEN r.observed_seconds END), "
    "max(CASE WHEN r.outcome = 'done' THEN r.observed_seconds END), "
    "min(CASE WHEN r.outcome = 'done' THEN r.observed_peak_bytes END), max(r.observed_peak_bytes)";
constexpr const char* kSetExtremes =
    "(seconds_least, seconds_most, peak_least, peak_most) = (SELECT ";

// A sum forgets a run by subtraction, a least and a most only by looking at the others. Cells of
// which retention has taken rows keep theirs.
void find_extremes_anew(Connection& connection, const Facets& f) {
    static const std::string kDay = fmt::format(
        "UPDATE day_sums SET {}{} FROM run_facets AS f JOIN runs AS r ON r.id = f.run WHERE "
        "f.started_ms >= ?1 * {} AND f.started_ms < (?1 + 1) * {} AND f.model = ?2 AND "
        "f.card = ?3 AND f.family = ?4 AND f.verdict = ?5 AND f.outcome = ?6) WHERE day = ?1 AND "
        "model = ?2 AND card = ?3 AND family = ?4 AND verdict = ?5 AND outcome = ?6 AND "
        "kept = runs",
        kSetExtremes, kExtremes, kDayMs, kDayMs);
    Prepared day = connection.prepared(kDay);
    int at = 1;
    for (const std::int64_t key : {f.day, f.model, f.card, f.family, f.verdict, f.outcome})
        day->bind(at++, key);
    day->exec();
    Prepared block = connection.prepared(fmt::format(
        "UPDATE block_sums SET {}min(seconds_least), max(seconds_most), min(peak_least), "
        "max(peak_most) FROM day_sums WHERE day >= ?1 << {} AND day < (?1 + 1) << {} AND "
        "model = ?2 AND card = ?3 AND family = ?4 AND verdict = ?5 AND outcome = ?6) WHERE "
        "block = ?1 AND model = ?2 AND card = ?3 AND family = ?4 AND verdict = ?5 AND "
        "outcome = ?6",
        kSetExtremes, kBlockShift, kBlockShift));
    at = 1;
    for (const std::int64_t key :
         {block_of(f.day), f.model, f.card, f.family, f.verdict, f.outcome})
        block->bind(at++, key);
    block->exec();
    static const std::string kSettings = fmt::format(
        "UPDATE settings_sums SET {}{} FROM run_facets AS f JOIN runs AS r ON r.id = f.run WHERE "
        "f.settings = ?1) WHERE id = ?1 AND kept = runs",
        kSetExtremes, kExtremes);
    if (f.settings != 0) {
        Prepared settings = connection.prepared(kSettings);
        settings->bind(1, f.settings);
        settings->exec();
    }
    for (const auto& [by, key, column] :
         {std::tuple(StatsBy::All, std::int64_t{0}, "0"),
          std::tuple(StatsBy::Model, f.model, "model"), std::tuple(StatsBy::Card, f.card, "card"),
          std::tuple(StatsBy::Day, f.day, "day")}) {
        Prepared total = connection.prepared(fmt::format(
            "UPDATE total_sums SET {}min(seconds_least), max(seconds_most), min(peak_least), "
            "max(peak_most) FROM day_sums WHERE {} = ?1) WHERE by = {} AND key = ?1",
            kSetExtremes, column, static_cast<int>(by)));
        total->bind(1, key);
        total->exec();
    }
}

void drop_empty_cells(Connection& connection, const Facets& f) {
    Prepared day = connection.prepared(
        "DELETE FROM day_sums WHERE day = ? AND model = ? AND card = ? AND family = ? AND "
        "verdict = ? AND outcome = ? AND runs <= 0");
    int at = 1;
    for (const std::int64_t key : {f.day, f.model, f.card, f.family, f.verdict, f.outcome})
        day->bind(at++, key);
    day->exec();
    for (const auto& [by, key] :
         {std::pair(StatsBy::Model, f.model), std::pair(StatsBy::Card, f.card),
          std::pair(StatsBy::Day, f.day)}) {
        Prepared total =
            connection.prepared("DELETE FROM total_sums WHERE by = ? AND key = ? AND runs <= 0");
        total->bind(1, static_cast<int>(by));
        total->bind(2, key);
        total->exec();
    }
    Prepared settings = connection.prepared("DELETE FROM settings_sums WHERE id = ? AND runs <= 0");
    settings->bind(1, f.settings);
    settings->exec();
}

}  // namespace

void index_run(Connection& connection, std::int64_t id, const RunRecord& run) {
    const Facets f = take_facets(connection, run);
    Prepared insert = connection.prepared(
        "INSERT INTO run_facets (started_ms, run, model, card, family, verdict, outcome, settings) "
        "VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
    int at = 1;
    for (const std::int64_t value :
         {run.started_ms, id, f.model, f.card, f.family, f.verdict, f.outcome, f.settings})
        insert->bind(at++, value);
    insert->exec();
    add_to_sums(connection, f, id, run.started_ms, RunSums::of(run));
    write_words(connection, "INSERT INTO run_words (rowid, prompt, facets) VALUES (?, ?, ?)", id,
                run, f);
}

void unindex_run(Connection& connection, std::int64_t id, const RunRecord& run, Leaving how) {
    const Facets f = take_facets(connection, run);
    Prepared remove =
        connection.prepared("DELETE FROM run_facets WHERE started_ms = ? AND run = ?");
    remove->bind(1, run.started_ms);
    remove->bind(2, id);
    remove->exec();
    write_words(connection,
                "INSERT INTO run_words (run_words, rowid, prompt, facets) "
                "VALUES ('delete', ?, ?, ?)",
                id, run, f);
    if (how == Leaving::Retired) {
        RunSums gone;
        gone.kept = -1;
        add_to_sums(connection, f, id, run.started_ms, gone);
        return;
    }
    const RunSums sums = RunSums::of(run);
    add_to_sums(connection, f, id, run.started_ms, sums.negated());
    if (sums.has_extremes()) find_extremes_anew(connection, f);
    drop_empty_cells(connection, f);
}

void rebuild_index(Connection& connection) {
    // The names stay: ids of them may be remembered.
    for (const char* const table :
         {"run_facets", "day_sums", "block_sums", "total_sums", "settings_sums"})
        connection.database.exec(fmt::format("DELETE FROM {}", table));
    connection.database.exec("INSERT INTO run_words (run_words) VALUES ('delete-all')");
    SQLite::Statement select(connection.database,
                             fmt::format("SELECT {}, id FROM runs ORDER BY id", kRunColumns));
    while (select.executeStep()) {
        const auto run = read_row(select);
        const std::int64_t id = select.getColumn(kRunColumnCount).getInt64();
        if (run)
            index_run(connection, id, *run);
        else
            log::warning("{}: run number {} cannot be read and is left out: {}", connection.file,
                         id, run.error().message);
    }
}

const std::string& sums_columns() {
    static const std::string sql = list_columns([](Growth) { return "{}"; });
    return sql;
}

const std::string& sums_aggregates() {
    static const std::string sql = list_columns([](Growth growth) {
        return growth == Growth::Least ? "min({})" : growth == Growth::Most ? "max({})" : "sum({})";
    });
    return sql;
}

RunSums read_sums(SQLite::Statement& from, int first_column) {
    RunSums sums;
    int at = first_column;
    for_each_column(sums, [&](const char*, Growth, auto& member) {
        using Member = std::remove_cvref_t<decltype(member)>;
        const SQLite::Column column = from.getColumn(at++);
        if constexpr (std::is_same_v<Member, std::int64_t>)
            member = column.getInt64();
        else if constexpr (std::is_same_v<Member, double>)
            member = column.getDouble();
        else if (!column.isNull())
            member = column.getDouble();
    });
    return sums;
}

}  // namespace plimsoll::history
