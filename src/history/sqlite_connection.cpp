// SPDX-License-Identifier: Apache-2.0
#include "history/sqlite_connection.h"

#include "base/utf8.h"
#include "history/schema_check.h"

#include <fmt/format.h>

namespace plimsoll::history {

namespace {

constexpr std::size_t kNamesMax = 10'000;  // chosen: far more models than anybody has

}  // namespace

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
                                file, one_line(thrown.what()))};
        case SQLITE_CORRUPT:
        case SQLITE_NOTADB:
            return {Errc::Corrupt,
                    fmt::format("{0}: the history file is damaged ({1}) and was left as it is: "
                                "plimsoll history check --repair moves it aside, starts a new one "
                                "and saves what can be read",
                                file, one_line(thrown.what()))};
        case SQLITE_IOERR:
            return {Errc::Unavailable,
                    fmt::format("{}: reading or writing failed ({}), nothing was changed: look for "
                                "a full disk, a quota or a failing drive",
                                file, one_line(thrown.what()))};
        default:
            return {Errc::Internal, fmt::format("{}: {}", file, one_line(thrown.what()))};
    }
}

std::string one_line(std::string_view text) {
    constexpr std::size_t kMost = 120;  // chosen: a line of a terminal
    const std::string_view line = text.substr(0, text.find('\n'));
    return line.size() == text.size() && line.size() <= kMost
               ? std::string(line)
               : fmt::format("{}...", valid_utf8(line.substr(0, kMost)));
}

bool Connection::is_damage(const SQLite::Exception& thrown) {
    const int code = thrown.getErrorCode() & 0xff;
    if (code == SQLITE_CORRUPT || code == SQLITE_NOTADB) return true;
    if (code != SQLITE_ERROR) return false;
    try {
        return !find_schema_damage(database).empty();
    } catch (const SQLite::Exception&) {
        return true;  // not even the definitions can be read
    }
}

void throw_corrupt(const std::string& what) {
    throw SQLite::Exception(what, SQLITE_CORRUPT);
}

Prepared Connection::prepared(const std::string& sql) {
    auto known = prepared_.find(sql);
    if (known == prepared_.end())
        known = prepared_.emplace(sql, std::make_unique<SQLite::Statement>(database, sql)).first;
    known->second->clearBindings();
    return Prepared(*known->second);
}

std::int64_t Connection::find_name(std::string_view name) {
    const std::string key(name);
    if (const auto known = names_.find(key); known != names_.end()) return known->second;
    Prepared select = prepared("SELECT id FROM names WHERE name = ?");
    select->bind(1, key);
    const std::int64_t id = select->executeStep() ? select->getColumn(0).getInt64() : 0;
    if (id == 0) return 0;
    if (names_.size() >= kNamesMax) names_.clear();
    names_.emplace(key, id);
    return id;
}

std::int64_t Connection::take_name(std::string_view name) {
    if (const std::int64_t known = find_name(name); known != 0) return known;
    Prepared insert = prepared("INSERT INTO names (name) VALUES (?)");
    insert->bind(1, std::string(name));
    insert->exec();
    const std::int64_t id = database.getLastInsertRowid();
    names_.emplace(name, id);
    return id;
}

std::string Connection::name_of(std::int64_t id) {
    if (names_by_id_.size() >= kNamesMax) names_by_id_.clear();
    const auto known = names_by_id_.find(id);
    if (known != names_by_id_.end()) return known->second;
    Prepared select = prepared("SELECT name FROM names WHERE id = ?");
    select->bind(1, id);
    if (!select->executeStep()) throw_corrupt(fmt::format("there is no name {}", id));
    std::string name = select->getColumn(0).getString();
    return names_by_id_.emplace(id, std::move(name)).first->second;
}

}  // namespace plimsoll::history
