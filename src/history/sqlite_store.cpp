// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_store.h"

#include "base/log.h"
#include "history/schema.h"
#include "history/sqlite_connection.h"
#include "history/sqlite_index.h"

#include <fmt/format.h>

#include <chrono>
#include <thread>
#include <utility>

namespace plimsoll::history {

SqliteStore::SqliteStore(std::unique_ptr<Connection> connection)
    : connection_(std::move(connection)) {}
SqliteStore::~SqliteStore() = default;

namespace {

static_assert(kMigrations.size() == kSchemaVersion);

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

// In one transaction: a process that dies, or a disk that fills up, leaves the older schema whole.
// What is kept beside the runs is made by code, so once, after the last step.
Result<void> migrate(Connection& connection) {
    SQLite::Database& database = connection.database;
    if (schema_version(database) == kSchemaVersion) return {};
    SQLite::Transaction transaction(database, SQLite::TransactionBehavior::IMMEDIATE);
    TRY_DO(check_version(database, connection.file));
    const int before = schema_version(database);
    if (before == kSchemaVersion) return {};  // another process was faster
    for (int version = before; version < kSchemaVersion; ++version)
        database.exec(kMigrations.at(static_cast<std::size_t>(version)));
    if (before > 0 && before < kIndexSince) rebuild_index(connection);
    database.exec(fmt::format("PRAGMA user_version = {}", kSchemaVersion));
    transaction.commit();
    if (before > 0)
        log::info("{}: migrated from schema {} to {}", connection.file, before, kSchemaVersion);
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
        if (options.cache_mib > 0)
            database.exec(fmt::format("PRAGMA cache_size = -{}", options.cache_mib * 1024));
        if (writable) {
            if (options.pages_max > 0)
                database.exec(fmt::format("PRAGMA max_page_count = {}", options.pages_max));
            if (options.durability == Durability::None) {
                database.exec("PRAGMA journal_mode = OFF; PRAGMA synchronous = OFF");
            } else {
                switch_to_wal(database, options.busy_timeout_ms);
                // FULL: an acknowledged run survives a power cut, not only a crash of the process.
                database.exec("PRAGMA synchronous = FULL");
            }
            TRY_DO(migrate(*connection));
        }
        return std::unique_ptr<SqliteStore>(new SqliteStore(std::move(connection)));
    } catch (const SQLite::Exception& thrown) {
        return std::unexpected(explain(thrown, path.string()));
    }
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

bool SqliteStore::was_moved() const {
    int moved = 0;
    const int asked = ::sqlite3_file_control(connection_->database.getHandle(), "main",
                                             SQLITE_FCNTL_HAS_MOVED, &moved);
    return asked == SQLITE_OK && moved != 0;
}

bool SqliteStore::met_damage() const {
    return connection_->met_damage;
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
