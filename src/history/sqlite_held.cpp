// SPDX-License-Identifier: Apache-2.0
//
// The gateway's queue in the history file.
#include "history/sqlite_connection.h"
#include "history/sqlite_store.h"

namespace plimsoll::history {

namespace {

void bind_mark(SQLite::Statement& statement, int first, const HeldMark& mark) {
    statement.bind(first, mark.turn);
    statement.bind(first + 1, mark.priority);
    statement.bind(first + 2, mark.sent ? 1 : 0);
    statement.bind(first + 3, mark.attempts);
}

}  // namespace

Result<void> SqliteStore::keep_held(const HeldJob& job) {
    return connection_->guarded([&]() -> Result<void> {
        Prepared insert = connection_->prepared(
            "INSERT OR REPLACE INTO held_jobs (prompt_id, accepted_ms, turn, priority, sent, "
            "attempts, body, facts) VALUES (?, ?, ?, ?, ?, ?, ?, ?)");
        insert->bind(1, job.prompt_id);
        insert->bind(2, job.accepted_ms);
        bind_mark(*insert, 3, job.mark);
        insert->bind(7, job.body);
        insert->bind(8, job.facts_json);
        insert->exec();
        return {};
    });
}

Result<void> SqliteStore::mark_held(std::span<const HeldChange> changes) {
    return connection_->within_write([&]() -> Result<void> {
        for (const HeldChange& change : changes) {
            Prepared update = connection_->prepared(
                "UPDATE held_jobs SET turn = ?, priority = ?, sent = ?, attempts = ? "
                "WHERE prompt_id = ?");
            bind_mark(*update, 1, change.mark);
            update->bind(5, change.prompt_id);
            update->exec();
        }
        return {};
    });
}

Result<void> SqliteStore::drop_held(std::span<const std::string> prompt_ids) {
    return connection_->within_write([&]() -> Result<void> {
        for (const std::string& id : prompt_ids) {
            Prepared remove = connection_->prepared("DELETE FROM held_jobs WHERE prompt_id = ?");
            remove->bind(1, id);
            remove->exec();
        }
        return {};
    });
}

Result<std::vector<HeldJob>> SqliteStore::list_held() {
    return connection_->guarded([&]() -> Result<std::vector<HeldJob>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT prompt_id, accepted_ms, turn, priority, sent, attempts, "
                                 "body, facts FROM held_jobs ORDER BY priority DESC, turn, "
                                 "prompt_id");
        std::vector<HeldJob> jobs;
        while (select.executeStep())
            jobs.push_back({.prompt_id = select.getColumn(0).getString(),
                            .accepted_ms = select.getColumn(1).getInt64(),
                            .mark = {.turn = select.getColumn(2).getInt64(),
                                     .priority = select.getColumn(3).getInt64(),
                                     .sent = select.getColumn(4).getInt() != 0,
                                     .attempts = select.getColumn(5).getInt()},
                            .body = select.getColumn(6).getString(),
                            .facts_json = select.getColumn(7).getString()});
        return jobs;
    });
}

Result<void> SqliteStore::keep_wall(const Wall& wall) {
    return connection_->within_write([&]() -> Result<void> {
        Prepared insert = connection_->prepared(
            "INSERT OR REPLACE INTO walls (shape, met_ms, reason) VALUES (?, ?, ?)");
        insert->bind(1, wall.shape);
        insert->bind(2, wall.met_ms);
        insert->bind(3, wall.reason);
        insert->exec();
        Prepared trim = connection_->prepared(
            "DELETE FROM walls WHERE shape IN (SELECT shape FROM walls ORDER BY met_ms DESC, shape "
            "LIMIT -1 OFFSET ?)");
        trim->bind(1, kWallsMax);
        trim->exec();
        return {};
    });
}

Result<void> SqliteStore::drop_wall(std::string_view shape) {
    return connection_->guarded([&]() -> Result<void> {
        Prepared remove = connection_->prepared("DELETE FROM walls WHERE shape = ?");
        remove->bind(1, std::string(shape));
        remove->exec();
        return {};
    });
}

Result<std::vector<Wall>> SqliteStore::list_walls() {
    return connection_->guarded([&]() -> Result<std::vector<Wall>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT shape, met_ms, reason FROM walls ORDER BY met_ms, shape");
        std::vector<Wall> walls;
        while (select.executeStep())
            walls.push_back({.shape = select.getColumn(0).getString(),
                             .met_ms = select.getColumn(1).getInt64(),
                             .reason = select.getColumn(2).getString()});
        return walls;
    });
}

}  // namespace plimsoll::history
