// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_store.h"

#include "base/log.h"
#include "history/run_json.h"
#include "history/schema.h"

#include <SQLiteCpp/SQLiteCpp.h>
#include <fmt/format.h>
#include <sqlite3.h>

#include <array>
#include <chrono>
#include <thread>
#include <type_traits>
#include <utility>
#include <variant>

namespace plimsoll::history {

namespace {

static_assert(kMigrations.size() == kSchemaVersion);

constexpr const char* kRunColumns =
    "run_id, started_ms, ended_ms, prompt_id, prompt, model, checkpoint, family, width, height, "
    "batch, steps, cfg, sampler, scheduler, quality, seed, card, comfyui_version, verdict, "
    "load_line_bytes, forecast_peak_bytes, forecast_seconds, observed_peak_bytes, "
    "observed_used_bytes, card_total_bytes, observed_seconds, phases, changes, images, outcome, "
    "error";
constexpr int kRunColumnCount = 32;

// What a code of SQLite means to the person who has to do something about it.
Error explain(const SQLite::Exception& thrown, const std::string& file) {
    const int code = thrown.getErrorCode() & 0xff;
    switch (code) {
        case SQLITE_FULL:
            return {Errc::Unavailable,
                    fmt::format("{}: the disk is full, nothing was changed: free some space and "
                                "try again",
                                file)};
        case SQLITE_BUSY:
        case SQLITE_LOCKED:
            return {Errc::Unavailable,
                    fmt::format("{}: another process keeps the history busy, nothing was changed: "
                                "try again when it is done",
                                file)};
        case SQLITE_READONLY:
        case SQLITE_CANTOPEN:
        case SQLITE_PERM:
        case SQLITE_AUTH:
            return {Errc::Unavailable,
                    fmt::format("{}: cannot be opened for writing ({}): allow it, or set "
                                "PLIMSOLL_HOME to a folder that you may write to",
                                file, thrown.what())};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {Errc::Corrupt,
                    fmt::format("{0}: the history file is damaged ({1}) and was left as it is: "
                                "move it aside (mv '{0}' '{0}.damaged') and a new one is started; "
                                "sqlite3 '{0}.damaged' .recover may save its runs",
                                file, thrown.what())};
        case SQLITE_IOERR:
            return {Errc::Unavailable,
                    fmt::format("{}: reading or writing failed ({}), nothing was changed: look for "
                                "a full disk, a quota or a failing drive",
                                file, thrown.what())};
        default:
            return {Errc::Internal, fmt::format("{}: {}", file, thrown.what())};
    }
}

// The text of a LIKE pattern that matches exactly the ids that begin with `prefix`.
std::string prefix_pattern(std::string_view prefix) {
    std::string pattern;
    for (const char c : prefix) {
        if (c == '%' || c == '_' || c == '\\') pattern += '\\';
        pattern += c;
    }
    return pattern + "%";
}

// Where a condition of the list belongs in the statement, and how its value is bound.
struct Where {
    std::string sql = " WHERE 1";
    std::vector<std::variant<std::string, std::int64_t>> values;

    void add(const char* condition, std::variant<std::string, std::int64_t> value) {
        sql += fmt::format(" AND {}", condition);
        values.push_back(std::move(value));
    }
    void bind(SQLite::Statement& statement) const {
        int index = 1;
        for (const auto& value : values)
            std::visit([&](const auto& v) { statement.bind(index++, v); }, value);
    }
};

Where where_of(const RunFilter& filter) {
    Where where;
    if (filter.model) where.add("model = ?", *filter.model);
    if (filter.family) where.add("family = ?", *filter.family);
    if (filter.card) where.add("card = ?", *filter.card);
    if (filter.outcome) where.add("outcome = ?", std::string(outcome_name(*filter.outcome)));
    if (filter.since_ms) where.add("started_ms >= ?", *filter.since_ms);
    if (filter.before_ms) where.add("started_ms < ?", *filter.before_ms);
    if (filter.text) where.add("prompt LIKE ? ESCAPE '\\'", "%" + prefix_pattern(*filter.text));
    return where;
}

void bind_run(SQLite::Statement& to, const RunRecord& run) {
    int at = 1;
    const auto put = [&](const auto& value) { to.bind(at++, value); };
    const auto put_optional = [&](const auto& value) {
        if (value)
            to.bind(at++, *value);
        else
            to.bind(at++);
    };
    put(run.run_id), put(run.started_ms), put(run.ended_ms), put(run.prompt_id), put(run.prompt);
    put(run.model), put(run.checkpoint), put(run.family);
    const Settings& s = run.settings;
    put(s.width), put(s.height), put(s.batch), put(s.steps), put(s.cfg);
    put(s.sampler), put(s.scheduler), put(s.quality), put(s.seed);
    put(run.card), put(run.comfyui_version), put(run.verdict);
    put(run.load_line.count), put(run.forecast_peak.count), put(run.forecast_seconds);
    for (const auto& bytes : {run.observed_peak, run.observed_used, run.card_total})
        put_optional(bytes ? std::optional(bytes->count) : std::nullopt);
    put_optional(run.observed_seconds);
    put(phases_to_text(run.phases)), put(changes_to_text(run.changes));
    put(images_to_text(run.images)), put(std::string(outcome_name(run.outcome))), put(run.error);
    static_assert(kRunColumnCount == 32);
}

Result<RunRecord> run_of(SQLite::Statement& from) {
    int at = 0;
    const auto text = [&] { return from.getColumn(at++).getString(); };
    const auto integer = [&] { return from.getColumn(at++).getInt64(); };
    const auto number = [&] { return from.getColumn(at++).getDouble(); };
    RunRecord run;
    run.run_id = text(), run.started_ms = integer(), run.ended_ms = integer();
    run.prompt_id = text(), run.prompt = text();
    run.model = text(), run.checkpoint = text(), run.family = text();
    Settings& s = run.settings;
    s.width = static_cast<int>(integer()), s.height = static_cast<int>(integer());
    s.batch = static_cast<int>(integer()), s.steps = static_cast<int>(integer());
    s.cfg = number();
    s.sampler = text(), s.scheduler = text(), s.quality = text(), s.seed = text();
    run.card = text(), run.comfyui_version = text(), run.verdict = text();
    run.load_line = Bytes(integer()), run.forecast_peak = Bytes(integer());
    run.forecast_seconds = number();
    for (auto* const bytes : {&run.observed_peak, &run.observed_used, &run.card_total}) {
        if (!from.getColumn(at).isNull()) *bytes = Bytes(from.getColumn(at).getInt64());
        ++at;
    }
    if (!from.getColumn(at).isNull()) run.observed_seconds = from.getColumn(at).getDouble();
    ++at;
    TRY_ASSIGN(run.phases, parse_phases(text()));
    TRY_ASSIGN(run.changes, parse_changes(text()));
    TRY_ASSIGN(run.images, parse_images(text()));
    const std::string outcome = text();
    const auto known = parse_outcome(outcome);
    if (!known)
        return fail(Errc::Corrupt, fmt::format("run {} has the outcome '{}'", run.run_id, outcome));
    run.outcome = *known;
    run.error = text();
    return run;
}

}  // namespace

struct SqliteStore::Connection {
    std::string file;
    SQLite::Database database;

    Connection(std::string path, const std::string& address, int flags, int busy_timeout_ms)
        : file(std::move(path)), database(address, flags, busy_timeout_ms) {}

    // The one place where exceptions of SQLiteCpp become errors.
    template <class Action>
    auto guarded(Action&& action) -> std::invoke_result_t<Action> {
        try {
            return std::forward<Action>(action)();
        } catch (const SQLite::Exception& thrown) {
            return std::unexpected(explain(thrown, file));
        }
    }
};

SqliteStore::SqliteStore(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
SqliteStore::~SqliteStore() = default;

namespace {

// The change of an empty file to WAL wants the file for itself and does not wait, unlike all later
// statements.
void switch_to_wal(SQLite::Database& database, int busy_timeout_ms) {
    constexpr auto kPause = std::chrono::milliseconds(10);  // chosen: the change takes about one
    const auto give_up =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(busy_timeout_ms);
    while (true) {
        const int code = database.tryExec("PRAGMA journal_mode = WAL");
        if (code == SQLITE_OK || code == SQLITE_ROW) return;
        const bool busy = (code & 0xff) == SQLITE_BUSY;
        if (!busy || std::chrono::steady_clock::now() > give_up)
            throw SQLite::Exception(database.getHandle(), code);
        std::this_thread::sleep_for(kPause);
    }
}

int schema_version(SQLite::Database& database) {
    return database.execAndGet("PRAGMA user_version").getInt();
}

Result<void> check_version(SQLite::Database& database, const std::string& file) {
    const int version = schema_version(database);
    if (version > kSchemaVersion)
        return fail(Errc::InvalidInput,
                    fmt::format("{}: was written by a newer Plimsoll (schema {}, this one knows "
                                "{}): update Plimsoll, or set PLIMSOLL_HOME to another folder",
                                file, version, kSchemaVersion));
    const bool foreign =
        version <= 0 && database.execAndGet("SELECT count(*) FROM sqlite_master").getInt() > 0;
    if (foreign || version < 0)
        return fail(Errc::InvalidInput,
                    fmt::format("{}: is a database of another program, it was left as it is: set "
                                "PLIMSOLL_HOME to another folder",
                                file));
    return {};
}

// In one transaction each: a process that dies, or a disk that fills up, leaves the older schema
// whole.
Result<void> migrate(SQLite::Database& database, const std::string& file) {
    while (schema_version(database) < kSchemaVersion) {
        SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
        TRY_DO(check_version(database, file));
        const int version = schema_version(database);  // another process may have been faster
        if (version >= kSchemaVersion) break;
        database.exec(kMigrations.at(static_cast<std::size_t>(version)));
        database.exec(fmt::format("PRAGMA user_version = {}", version + 1));
        transaction.commit();
        if (version > 0) log::info("{}: migrated to schema {}", file, version + 1);
    }
    return {};
}

// SQLite's URI form of a path: immutable lets it read a write-ahead database in a folder where
// nothing can be created.
std::string immutable_address(const std::filesystem::path& path) {
    std::string address = "file:";
    for (const char c : std::filesystem::absolute(path).string())
        address += c == '?' || c == '#' || c == '%' ? fmt::format("%{:02X}", c) : std::string(1, c);
    return address + "?immutable=1";
}

}  // namespace

Result<std::unique_ptr<SqliteStore>> SqliteStore::create(const std::filesystem::path& path,
                                                         const SqliteOptions& options) {
    const bool writable = options.access == Access::ReadWrite;
    std::error_code error;
    if (writable && path.has_parent_path()) {
        std::filesystem::create_directories(path.parent_path(), error);
        if (error)
            return fail(Errc::Unavailable,
                        fmt::format("{}: cannot create the folder ({}): set PLIMSOLL_HOME to a "
                                    "folder that you may write to",
                                    path.parent_path().string(), error.message()));
    }
    if (!writable && !std::filesystem::exists(path, error))
        return fail(Errc::NotFound, fmt::format("{}: there is no history yet", path.string()));
    const int flags = writable ? SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE
                               : SQLite::OPEN_READONLY | SQLite::OPEN_URI;
    const bool has_log = std::filesystem::exists(path.string() + "-wal", error);
    const std::string address = writable || has_log ? path.string() : immutable_address(path);
    try {
        auto connection =
            std::make_unique<Connection>(path.string(), address, flags, options.busy_timeout_ms);
        SQLite::Database& database = connection->database;
        {
            // Version and tables of one moment: another process may be making them.
            const SQLite::Transaction look(database);
            TRY_DO(check_version(database, path.string()));
        }
        if (writable) {
            if (options.pages_max > 0)
                database.exec(fmt::format("PRAGMA max_page_count = {}", options.pages_max));
            switch_to_wal(database, options.busy_timeout_ms);
            // FULL: an acknowledged run survives a power cut, not only a crash of the process.
            database.exec("PRAGMA synchronous = FULL");
            TRY_DO(migrate(database, path.string()));
        }
        return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(connection)));
    } catch (const SQLite::Exception& thrown) {
        return std::unexpected(explain(thrown, path.string()));
    }
}

Result<void> SqliteStore::record_run(const RunRecord& run) {
    return connection_->guarded([&]() -> Result<void> {
        std::string marks = "?";
        for (int i = 1; i < kRunColumnCount; ++i) marks += ", ?";
        std::string updates;
        for (const auto column : {"started_ms",
                                  "ended_ms",
                                  "prompt_id",
                                  "prompt",
                                  "model",
                                  "checkpoint",
                                  "family",
                                  "width",
                                  "height",
                                  "batch",
                                  "steps",
                                  "cfg",
                                  "sampler",
                                  "scheduler",
                                  "quality",
                                  "seed",
                                  "card",
                                  "comfyui_version",
                                  "verdict",
                                  "load_line_bytes",
                                  "forecast_peak_bytes",
                                  "forecast_seconds",
                                  "observed_peak_bytes",
                                  "observed_used_bytes",
                                  "card_total_bytes",
                                  "observed_seconds",
                                  "phases",
                                  "changes",
                                  "images",
                                  "outcome",
                                  "error"})
            updates +=
                fmt::format("{}{} = excluded.{}", updates.empty() ? "" : ", ", column, column);
        SQLite::Statement insert(
            connection_->database,
            fmt::format("INSERT INTO runs ({}) VALUES ({}) ON CONFLICT (run_id) DO UPDATE SET {}",
                        kRunColumns, marks, updates));
        bind_run(insert, run);
        insert.exec();
        return {};
    });
}

Result<RunRecord> SqliteStore::read_run(std::string_view run_id) {
    return connection_->guarded([&]() -> Result<RunRecord> {
        SQLite::Statement select(
            connection_->database,
            fmt::format("SELECT {} FROM runs WHERE run_id LIKE ? ESCAPE '\\' LIMIT 2",
                        kRunColumns));
        select.bind(1, prefix_pattern(run_id));
        if (run_id.empty() || !select.executeStep())
            return fail(Errc::NotFound, fmt::format("no run '{}', see plimsoll history", run_id));
        TRY_ASSIGN(RunRecord run, run_of(select));
        if (select.executeStep())
            return fail(Errc::InvalidInput,
                        fmt::format("more than one run begins with '{}'", run_id));
        return run;
    });
}

Result<RunPage> SqliteStore::list_runs(const RunFilter& filter, const Page& page) {
    TRY_DO(check_page(page));
    return connection_->guarded([&]() -> Result<RunPage> {
        Where where = where_of(filter);
        const bool oldest = page.order == Order::OldestFirst;
        if (page.cursor) {
            where.add(oldest ? "(started_ms, id) > ((SELECT started_ms FROM runs WHERE id = ?), ?)"
                             : "(started_ms, id) < ((SELECT started_ms FROM runs WHERE id = ?), ?)",
                      *page.cursor);
            where.values.emplace_back(*page.cursor);
        }
        SQLite::Statement select(
            connection_->database,
            fmt::format("SELECT {0}, id FROM runs{1} ORDER BY started_ms {2}, id {2} LIMIT {3}",
                        kRunColumns, where.sql, oldest ? "ASC" : "DESC", page.limit + 1));
        where.bind(select);
        RunPage answer;
        std::int64_t last_id = 0;
        while (select.executeStep()) {
            if (answer.runs.size() == static_cast<std::size_t>(page.limit)) {
                answer.next = last_id;
                break;
            }
            TRY_ASSIGN(RunRecord run, run_of(select));
            answer.runs.push_back(std::move(run));
            last_id = select.getColumn(kRunColumnCount).getInt64();
        }
        return answer;
    });
}

Result<std::int64_t> SqliteStore::count_runs(const RunFilter& filter) {
    return connection_->guarded([&]() -> Result<std::int64_t> {
        const Where where = where_of(filter);
        SQLite::Statement select(connection_->database, "SELECT count(*) FROM runs" + where.sql);
        where.bind(select);
        select.executeStep();
        return select.getColumn(0).getInt64();
    });
}

Result<std::vector<RunStats>> SqliteStore::stats_of(const RunFilter& filter, StatsBy by) {
    static constexpr std::array kKeys{"''", "model", "card",
                                      "strftime('%Y-%m-%d', started_ms / 1000, 'unixepoch')"};
    return connection_->guarded([&]() -> Result<std::vector<RunStats>> {
        const Where where = where_of(filter);
        SQLite::Statement select(
            connection_->database,
            fmt::format(
                "SELECT {} AS key, count(*), sum(outcome = 'done'), "
                "sum(outcome = 'out_of_memory'), "
                "avg(CASE WHEN outcome = 'done' THEN observed_seconds END), "
                "max(observed_peak_bytes), "
                "avg(CASE WHEN outcome = 'done' AND observed_peak_bytes > 0 THEN "
                "abs(forecast_peak_bytes - observed_peak_bytes) * 1.0 / observed_peak_bytes END), "
                "avg(CASE WHEN outcome = 'done' AND observed_seconds > 0 THEN "
                "abs(forecast_seconds - observed_seconds) / observed_seconds END) "
                "FROM runs{}{} ORDER BY {} LIMIT {}",
                kKeys.at(static_cast<std::size_t>(by)), where.sql,
                by == StatsBy::All ? "" : " GROUP BY key",
                by == StatsBy::Day ? "key DESC" : "count(*) DESC, key", kStatsGroupsMax));
        where.bind(select);
        std::vector<RunStats> groups;
        const auto number = [&](int at) -> std::optional<double> {
            if (select.getColumn(at).isNull()) return std::nullopt;
            return select.getColumn(at).getDouble();
        };
        while (select.executeStep()) {
            RunStats& group = groups.emplace_back();
            group.key = select.getColumn(0).getString();
            group.runs = select.getColumn(1).getInt64();
            group.done = select.getColumn(2).getInt64();
            group.out_of_memory = select.getColumn(3).getInt64();
            group.seconds_mean = number(4);
            if (!select.getColumn(5).isNull())
                group.peak_max = Bytes(select.getColumn(5).getInt64());
            group.forecast_peak_error_mean = number(6);
            group.forecast_seconds_error_mean = number(7);
        }
        return groups;
    });
}

Result<void> SqliteStore::keep_job(const KeptJob& job) {
    return connection_->guarded([&]() -> Result<void> {
        SQLite::Statement insert(connection_->database,
                                 "INSERT OR REPLACE INTO jobs (job_id, submitted_ms, started, "
                                 "request) VALUES (?, ?, ?, ?)");
        insert.bind(1, job.job_id);
        insert.bind(2, job.submitted_ms);
        insert.bind(3, job.started ? 1 : 0);
        insert.bind(4, job.request_json);
        insert.exec();
        return {};
    });
}

Result<void> SqliteStore::drop_job(std::string_view job_id) {
    return connection_->guarded([&]() -> Result<void> {
        SQLite::Statement remove(connection_->database, "DELETE FROM jobs WHERE job_id = ?");
        remove.bind(1, std::string(job_id));
        remove.exec();
        return {};
    });
}

Result<std::vector<KeptJob>> SqliteStore::list_jobs() {
    return connection_->guarded([&]() -> Result<std::vector<KeptJob>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT job_id, submitted_ms, started, request FROM jobs "
                                 "ORDER BY submitted_ms, job_id");
        std::vector<KeptJob> jobs;
        while (select.executeStep())
            jobs.push_back({.job_id = select.getColumn(0).getString(),
                            .submitted_ms = select.getColumn(1).getInt64(),
                            .started = select.getColumn(2).getInt() != 0,
                            .request_json = select.getColumn(3).getString()});
        return jobs;
    });
}

Result<void> SqliteStore::save_preset(const Preset& preset) {
    TRY_DO(check_preset(preset));
    return connection_->guarded([&]() -> Result<void> {
        SQLite::Statement insert(connection_->database,
                                 "INSERT OR REPLACE INTO presets (name, settings, saved_ms) "
                                 "VALUES (?, ?, ?)");
        insert.bind(1, preset.name);
        insert.bind(2, preset.settings_json);
        insert.bind(3, preset.saved_ms);
        insert.exec();
        return {};
    });
}

Result<std::vector<Preset>> SqliteStore::list_presets() {
    return connection_->guarded([&]() -> Result<std::vector<Preset>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT name, settings, saved_ms FROM presets ORDER BY name");
        std::vector<Preset> presets;
        while (select.executeStep())
            presets.push_back({select.getColumn(0).getString(), select.getColumn(1).getString(),
                               select.getColumn(2).getInt64()});
        return presets;
    });
}

Result<Preset> SqliteStore::load_preset(std::string_view name) {
    TRY_ASSIGN(std::vector<Preset> presets, list_presets());
    std::vector<std::string> known;
    for (Preset& preset : presets) {
        if (preset.name == name) return std::move(preset);
        known.push_back(preset.name);
    }
    return preset_not_found(name, known);
}

Result<void> SqliteStore::remove_preset(std::string_view name) {
    TRY_ASSIGN(const Preset preset, load_preset(name));
    return connection_->guarded([&]() -> Result<void> {
        SQLite::Statement remove(connection_->database, "DELETE FROM presets WHERE name = ?");
        remove.bind(1, preset.name);
        remove.exec();
        return {};
    });
}

Result<void> SqliteStore::check_integrity() {
    return connection_->guarded([&]() -> Result<void> {
        const std::string found =
            connection_->database.execAndGet("PRAGMA quick_check(1)").getString();
        if (found != "ok") throw SQLite::Exception(found, SQLITE_CORRUPT);
        return {};
    });
}

}  // namespace plimsoll::history
