// SPDX-License-Identifier: Apache-2.0
#include "history/schema_check.h"

#include "history/schema.h"
#include "history/sqlite_store.h"

#include <fmt/format.h>

#include <map>
#include <utility>

namespace plimsoll::history {

namespace {

using Definitions = std::map<std::pair<std::string, std::string>, std::string>;  // kind, name: SQL

Definitions read_definitions(SQLite::Database& database) {
    // SQLite's own (statistics of ANALYZE, automatic indices) come and go.
    SQLite::Statement query(database,
                            "SELECT type, name, coalesce(sql, '') FROM sqlite_master "
                            "WHERE name NOT LIKE 'sqlite_%'");
    Definitions definitions;
    while (query.executeStep())
        definitions[{query.getColumn(0).getString(), query.getColumn(1).getString()}] =
            query.getColumn(2).getString();
    return definitions;
}

}  // namespace

std::string find_schema_damage(SQLite::Database& database) {
    if (database.execAndGet("PRAGMA user_version").getInt() != kSchemaVersion) return {};
    SQLite::Database fresh(":memory:", SQLite::OPEN_READWRITE | SQLite::OPEN_CREATE);
    for (const char* const step : kMigrations) fresh.exec(step);
    const Definitions found = read_definitions(database);
    const Definitions made = read_definitions(fresh);
    if (found == made) return {};
    for (const auto& [key, sql] : made) {
        const auto one = found.find(key);
        if (one == found.end() || one->second != sql)
            return fmt::format("the {} {} is not as this version makes it", key.first, key.second);
    }
    return "it has tables that this version does not make";
}

}  // namespace plimsoll::history
