// SPDX-License-Identifier: Apache-2.0
#include "history/care.h"

#include "history/schema.h"
#include "history/sqlite_connection.h"
#include "history/sqlite_index.h"
#include "history/sqlite_rows.h"

#include <SQLiteCpp/Backup.h>
#include <fcntl.h>
#include <fmt/format.h>
#include <unistd.h>

#include <algorithm>
#include <array>
#include <limits>
#include <map>
#include <optional>
#include <set>
#include <utility>

namespace plimsoll::history {

namespace {

constexpr int kDamageLinesMax = 20;        // chosen: more lines of the same tell nothing
constexpr std::size_t kTakenAtOnce = 500;  // chosen: a transaction of a few milliseconds
constexpr int kGapsMax = 200;              // chosen: a file with more holes is read no further

template <class Action>
auto guarded(const std::filesystem::path& file, Action&& action) -> std::invoke_result_t<Action> {
    try {
        return std::forward<Action>(action)();
    } catch (const SQLite::Exception& thrown) {
        return std::unexpected(explain(thrown, file.string()));
    }
}

// Contents and, for a folder, names are on the disk when it returns.
Result<void> sync_path(const std::filesystem::path& path) {
    const int descriptor = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    const bool synced = descriptor >= 0 && ::fsync(descriptor) == 0;
    if (descriptor >= 0) ::close(descriptor);
    if (!synced)
        return fail(Errc::Unavailable, fmt::format("{}: cannot be written out", path.string()));
    return {};
}

std::int64_t count_of(SQLite::Database& database, const char* table) {
    return database.execAndGet(fmt::format("SELECT count(*) FROM {}", table)).getInt64();
}

Result<void> check_target(const std::filesystem::path& file, const std::filesystem::path& to) {
    std::error_code error;
    if (std::filesystem::equivalent(file, to, error))
        return fail(Errc::InvalidInput,
                    fmt::format("{} is the history itself: name another file", to.string()));
    if (!std::filesystem::exists(to, error)) return {};
    const auto there = SqliteStore::create(to, {.access = Access::ReadOnly});
    if (!there && there.error().code != Errc::Corrupt)
        return fail(Errc::InvalidInput,
                    fmt::format("{} is there and no backup of a history: it was left as it is, "
                                "name another file",
                                to.string()));
    if (!there)
        return fail(Errc::InvalidInput,
                    fmt::format("{} is there and cannot be read as a history: it was left as it "
                                "is, name another file",
                                to.string()));
    return {};
}

// Removed unless it has got its name.
class Partial {
  public:
    explicit Partial(std::filesystem::path path) : path_(std::move(path)) { remove(); }
    ~Partial() {
        if (!kept_) remove();
    }
    Partial(const Partial&) = delete;
    Partial& operator=(const Partial&) = delete;
    [[nodiscard]] const std::filesystem::path& path() const { return path_; }
    void keep() { kept_ = true; }

  private:
    void remove() const {
        std::error_code error;
        for (const char* const end : {"", "-wal", "-shm", "-journal"})
            std::filesystem::remove(path_.string() + end, error);
    }
    std::filesystem::path path_;
    bool kept_ = false;
};

Result<BackupReport> read_through(const std::filesystem::path& copy) {
    TRY_ASSIGN(const CheckReport report, check_file(copy));
    if (!report.damage.empty())
        return fail(Errc::Corrupt,
                    fmt::format("{}: the copy is not sound ({}): look for a failing drive, and "
                                "check the history itself with plimsoll history check",
                                copy.string(), report.damage.front()));
    return BackupReport{.runs = report.runs, .presets = report.presets, .bytes = report.bytes};
}

void compare(CheckReport& report, SQLite::Database& database, const char* what, const char* one,
             const char* other) {
    const auto a = database.execAndGet(one);
    const auto b = database.execAndGet(other);
    const double there = a.getDouble();
    const double here = b.getDouble();
    // Sums that were added up in another order differ in their last digits.
    if (std::abs(there - here) <= 1e-6 * std::max(1.0, std::abs(there))) return;
    report.differences.push_back(
        fmt::format("{}: {} by the runs, {} by the summaries", what, there, here));
}

// Cells that retention has taken rows of cannot be counted again.
void compare_summaries(CheckReport& report, SQLite::Database& database) {
    compare(report, database, "runs in the list", "SELECT count(*) FROM runs",
            "SELECT count(*) FROM run_facets");
    compare(report, database, "runs of all days", "SELECT count(*) FROM runs",
            "SELECT ifnull(sum(kept), 0) FROM day_sums");
    compare(report, database, "runs in total", "SELECT count(*) FROM runs",
            "SELECT ifnull(sum(kept), 0) FROM total_sums WHERE by = 0");
    compare(report, database, "runs of all models", "SELECT count(*) FROM runs",
            "SELECT ifnull(sum(kept), 0) FROM total_sums WHERE by = 1");
    compare(report, database, "runs with settings",
            "SELECT count(*) FROM runs WHERE width > 0 AND steps > 0",
            "SELECT ifnull(sum(kept), 0) FROM settings_sums");
    compare(report, database, "listed runs that are there", "SELECT count(*) FROM run_facets",
            "SELECT count(*) FROM run_facets AS f JOIN runs AS r ON r.id = f.run AND "
            "r.started_ms = f.started_ms");
    const bool is_whole =
        database.execAndGet("SELECT count(*) FROM day_sums WHERE kept <> runs").getInt64() == 0;
    if (!is_whole) return;
    compare(report, database, "seconds of done runs",
            "SELECT total(observed_seconds) FROM runs WHERE outcome = 'done'",
            "SELECT total(seconds_sum) FROM day_sums");
    compare(report, database, "highest peak",
            "SELECT ifnull(max(observed_peak_bytes), 0) FROM runs",
            "SELECT ifnull(max(peak_most), 0) FROM day_sums");
}

// Rows of a table that may be damaged, from the end to the beginning. What cannot be read is a gap;
// after one it goes on further down, in growing steps.
class RowReader {
  public:
    RowReader(SQLite::Database& from, std::int64_t& gaps) : from_(from), gaps_(gaps) {}

    // use(row): false ends it.
    template <class Use>
    void read_runs(Use&& use) {
        const std::string sql =
            fmt::format("SELECT {}, id FROM runs WHERE id < ? ORDER BY id DESC", columns());
        std::int64_t below = std::numeric_limits<std::int64_t>::max();
        std::int64_t step = 1;
        for (int gaps = 0; below > 0 && gaps < kGapsMax;) {
            try {
                SQLite::Statement select(from_, sql);
                select.bind(1, below);
                while (select.executeStep()) {
                    const std::int64_t id = select.getColumn(kRunColumnCount).getInt64();
                    auto run = read_row(select);
                    below = id;
                    step = 1;
                    if (!run)
                        ++gaps_;
                    else if (!use(std::move(*run)))
                        return;
                }
                return;
            } catch (const SQLite::Exception&) {
                ++gaps;
                ++gaps_;
                if (below == std::numeric_limits<std::int64_t>::max()) below = highest_id();
                below -= step;
                step *= 2;
            }
        }
    }

    // From the beginning, then from the end up to where that broke off.
    template <class Use>
    void read_small(const char* columns, const char* table, const char* key, Use&& use) {
        for (const char* const order : {"ASC", "DESC"}) {
            try {
                SQLite::Statement select(from_, fmt::format("SELECT {} FROM {} ORDER BY {} {}",
                                                            columns, table, key, order));
                while (select.executeStep()) use(select);
                return;
            } catch (const SQLite::Exception&) {
                ++gaps_;
            }
        }
    }

  private:
    // Columns that an older schema has not are NULL.
    std::string columns() {
        std::set<std::string> there;
        SQLite::Statement info(from_, "SELECT name FROM pragma_table_info('runs')");
        while (info.executeStep()) there.insert(info.getColumn(0).getString());
        std::string list = kRunColumns;
        for (const char* const late : {"observed_used_bytes", "card_total_bytes"})
            if (!there.contains(late))
                list.replace(list.find(late), std::string_view(late).size(), "NULL");
        return list;
    }

    std::int64_t highest_id() {
        try {
            return from_.execAndGet("SELECT seq FROM sqlite_sequence WHERE name = 'runs'")
                       .getInt64() +
                   1;
        } catch (const SQLite::Exception&) {
            return 0;
        }
    }

    SQLite::Database& from_;
    std::int64_t& gaps_;
};

// Writes what is new in batches.
class Taker {
  public:
    Taker(SqliteStore& into, RestoreReport& report) : into_(into), report_(report) {}

    bool take(RunRecord run) {
        batch_.push_back(std::move(run));
        return batch_.size() < kTakenAtOnce || write();
    }
    bool write() {
        std::vector<RunRecord> fresh;
        for (RunRecord& run : batch_) {
            const auto there = into_.has_run(run.run_id);
            if (!there) error_ = there.error();
            if (!there) return false;
            if (*there)
                ++report_.runs_known;
            else
                fresh.push_back(std::move(run));
        }
        batch_.clear();
        std::ranges::reverse(fresh);  // older ones have the lower numbers
        if (const auto written = into_.record_runs(fresh); !written) {
            error_ = written.error();
            return false;
        }
        report_.runs += static_cast<std::int64_t>(fresh.size());
        return true;
    }
    [[nodiscard]] const std::optional<Error>& error() const { return error_; }

  private:
    SqliteStore& into_;
    RestoreReport& report_;
    std::vector<RunRecord> batch_;
    std::optional<Error> error_;
};

Result<void> take_presets(SqliteStore& into, RowReader& reader, RestoreReport& report) {
    std::map<std::string, Preset> found;
    reader.read_small("name, settings, saved_ms", "presets", "name", [&](SQLite::Statement& row) {
        found.insert_or_assign(row.getColumn(0).getString(),
                               Preset{row.getColumn(0).getString(), row.getColumn(1).getString(),
                                      row.getColumn(2).getInt64()});
    });
    for (const auto& [name, preset] : found) {
        if (into.load_preset(name)) {
            ++report.presets_known;
        } else if (!check_preset(preset)) {
            ++report.unreadable;
        } else {
            TRY_DO(into.save_preset(preset));
            ++report.presets;
        }
    }
    return {};
}

Result<void> take_jobs(SqliteStore& into, RowReader& reader, RestoreReport& report) {
    std::map<std::string, KeptJob> found;
    reader.read_small(
        "job_id, submitted_ms, started, request", "jobs", "job_id", [&](SQLite::Statement& row) {
            found.insert_or_assign(row.getColumn(0).getString(),
                                   KeptJob{.job_id = row.getColumn(0).getString(),
                                           .submitted_ms = row.getColumn(1).getInt64(),
                                           .started = row.getColumn(2).getInt() != 0,
                                           .request_json = row.getColumn(3).getString()});
        });
    for (const auto& [id, job] : found) {
        TRY_DO(into.keep_job(job));
        ++report.jobs;
    }
    return {};
}

// Quality sessions are finished work as runs are; what is there already stays.
Result<void> take_sessions(SqliteStore& into, RowReader& reader) {
    std::map<std::string, QualitySession> sessions;
    reader.read_small("session_id, model, created_ms, plan, progress, findings", "quality_sessions",
                      "session_id", [&](SQLite::Statement& row) {
                          QualitySession session{.session_id = row.getColumn(0).getString(),
                                                 .model = row.getColumn(1).getString(),
                                                 .created_ms = row.getColumn(2).getInt64(),
                                                 .plan_json = row.getColumn(3).getString(),
                                                 .progress_json = row.getColumn(4).getString(),
                                                 .findings_json = row.getColumn(5).getString()};
                          sessions.insert_or_assign(session.session_id, std::move(session));
                      });
    TRY_ASSIGN(const auto there, into.list_sessions());
    for (const QualitySession& session : there) sessions.erase(session.session_id);
    for (const auto& [id, session] : sessions) TRY_DO(into.keep_session(session));
    std::vector<QualityPicture> pictures;
    reader.read_small("session_id, candidate, block, picture", "quality_pictures", "session_id",
                      [&](SQLite::Statement& row) {
                          pictures.push_back({.session_id = row.getColumn(0).getString(),
                                              .candidate = row.getColumn(1).getInt64(),
                                              .block = row.getColumn(2).getInt64(),
                                              .picture_json = row.getColumn(3).getString()});
                      });
    for (const QualityPicture& picture : pictures)
        if (sessions.contains(picture.session_id)) TRY_DO(into.keep_picture(picture));
    std::vector<QualityVote> votes;
    reader.read_small("vote_id, session_id, voted_ms, vote", "quality_votes", "vote_id",
                      [&](SQLite::Statement& row) {
                          votes.push_back({.vote_id = row.getColumn(0).getString(),
                                           .session_id = row.getColumn(1).getString(),
                                           .voted_ms = row.getColumn(2).getInt64(),
                                           .vote_json = row.getColumn(3).getString()});
                      });
    for (const QualityVote& vote : votes) TRY_DO(into.keep_vote(vote));
    return {};
}

// The gateway's queue, with what it has learnt not to send.
Result<void> take_held(SqliteStore& into, RowReader& reader, RestoreReport& report) {
    std::map<std::string, HeldJob> found;
    reader.read_small("prompt_id, accepted_ms, turn, priority, sent, attempts, body, facts",
                      "held_jobs", "prompt_id", [&](SQLite::Statement& row) {
                          HeldJob job{.prompt_id = row.getColumn(0).getString(),
                                      .accepted_ms = row.getColumn(1).getInt64(),
                                      .mark = {.turn = row.getColumn(2).getInt64(),
                                               .priority = row.getColumn(3).getInt64(),
                                               .sent = row.getColumn(4).getInt() != 0,
                                               .attempts = row.getColumn(5).getInt()},
                                      .body = row.getColumn(6).getString(),
                                      .facts_json = row.getColumn(7).getString()};
                          found.insert_or_assign(job.prompt_id, std::move(job));
                      });
    for (const auto& [id, job] : found) {
        TRY_DO(into.keep_held(job));
        ++report.jobs;
    }
    std::map<std::string, Wall> walls;
    reader.read_small("shape, met_ms, reason", "walls", "shape", [&](SQLite::Statement& row) {
        walls.insert_or_assign(row.getColumn(0).getString(),
                               Wall{.shape = row.getColumn(0).getString(),
                                    .met_ms = row.getColumn(1).getInt64(),
                                    .reason = row.getColumn(2).getString()});
    });
    for (const auto& [shape, wall] : walls) TRY_DO(into.keep_wall(wall));
    return {};
}

}  // namespace

Result<BackupReport> back_up(const std::filesystem::path& file, const std::filesystem::path& to) {
    std::error_code error;
    if (!std::filesystem::exists(file, error))
        return fail(Errc::NotFound, fmt::format("{}: there is no history yet", file.string()));
    TRY_DO(check_target(file, to));
    Partial partial(to.string() + ".partial");
    TRY_DO(guarded(partial.path(), [&]() -> Result<void> {
        SQLite::Database from(file.string(), SQLite::OPEN_READONLY, 5000);
        SQLite::Database copy(partial.path().string(),
                              SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
        // All pages at once: a reader of a write-ahead file holds nobody up.
        SQLite::Backup(copy, from).executeStep(-1);
        // One file without a log beside it, which can be read wherever it is carried to.
        copy.exec("PRAGMA journal_mode = DELETE");
        return {};
    }));
    TRY_ASSIGN(const BackupReport report, read_through(partial.path()));
    TRY_DO(sync_path(partial.path()));
    std::filesystem::rename(partial.path(), to, error);
    if (error) return fail(Errc::Unavailable, fmt::format("{}: {}", to.string(), error.message()));
    partial.keep();
    const auto folder = to.has_parent_path() ? to.parent_path() : std::filesystem::path(".");
    TRY_DO(sync_path(folder));
    return report;
}

Result<CheckReport> check_file(const std::filesystem::path& file) {
    // Opened as any reader does: with the reasons why not.
    auto opened = SqliteStore::create(file, {.access = Access::ReadOnly});
    CheckReport report;
    std::error_code error;
    report.bytes = std::filesystem::file_size(file, error);
    if (!opened && opened.error().code != Errc::Corrupt) return std::unexpected(opened.error());
    if (!opened) {
        report.damage.push_back(opened.error().message);
        return report;
    }
    const auto looked = guarded(file, [&]() -> Result<void> {
        SQLite::Database& database = (*opened)->connection().database;
        SQLite::Statement pages(database,
                                fmt::format("PRAGMA integrity_check({})", kDamageLinesMax));
        while (pages.executeStep())
            if (const std::string line = pages.getColumn(0).getString(); line != "ok")
                report.damage.push_back(line);
        report.schema = database.execAndGet("PRAGMA user_version").getInt();
        if (!report.damage.empty()) return {};
        report.runs = count_of(database, "runs");
        report.presets = count_of(database, "presets");
        if (report.schema >= kIndexSince) compare_summaries(report, database);
        return {};
    });
    if (!looked && looked.error().code != Errc::Corrupt) return std::unexpected(looked.error());
    if (!looked) report.damage.push_back(looked.error().message);
    return report;
}

Result<void> rebuild_summaries(const std::filesystem::path& file) {
    TRY_ASSIGN(const auto store, SqliteStore::create(file));
    Connection& connection = store->connection();
    return connection.within_write([&]() -> Result<void> {
        rebuild_index(connection);
        return {};
    });
}

Result<RestoreReport> take_in(SqliteStore& into, const std::filesystem::path& from, Taking taking,
                              std::int64_t runs_max) {
    std::error_code error;
    if (!std::filesystem::is_regular_file(from, error))
        return fail(Errc::NotFound, fmt::format("{}: there is no such file", from.string()));
    RestoreReport report;
    try {
        SQLite::Database source(from.string(), SQLite::OPEN_READONLY, 5000);
        const int schema = source.execAndGet("PRAGMA user_version").getInt();
        if (schema < 1 || schema > kSchemaVersion)
            return fail(Errc::InvalidInput,
                        fmt::format("{}: is no history that this Plimsoll knows (schema {}, it "
                                    "knows 1 to {})",
                                    from.string(), schema, kSchemaVersion));
        RowReader reader(source, report.unreadable);
        TRY_DO(take_presets(into, reader, report));
        if (taking == Taking::All && schema >= 4) TRY_DO(take_jobs(into, reader, report));
        if (taking == Taking::All && schema >= 7) TRY_DO(take_held(into, reader, report));
        if (schema >= 8) TRY_DO(take_sessions(into, reader));
        Taker taker(into, report);
        std::int64_t left = runs_max;
        reader.read_runs([&](RunRecord run) {
            if (left == 0) return false;
            if (left > 0) --left;
            return taker.take(std::move(run));
        });
        if (!taker.error()) taker.write();
        if (taker.error()) return std::unexpected(*taker.error());
        return report;
    } catch (const SQLite::Exception& thrown) {
        Error error_of_file = explain(thrown, from.string());
        if (error_of_file.code == Errc::Corrupt)
            error_of_file.message = fmt::format("{}: nothing can be read of it ({})", from.string(),
                                                one_line(thrown.what()));
        return std::unexpected(std::move(error_of_file));
    }
}

}  // namespace plimsoll::history
