// SPDX-License-Identifier: Apache-2.0
//
// Quality sessions in the history file.
#include "history/sqlite_connection.h"
#include "history/sqlite_store.h"

namespace plimsoll::history {

Result<void> SqliteStore::keep_session(const QualitySession& session) {
    return connection_->guarded([&]() -> Result<void> {
        Prepared insert = connection_->prepared(
            "INSERT OR REPLACE INTO quality_sessions (session_id, model, created_ms, plan, "
            "progress, findings) VALUES (?, ?, ?, ?, ?, ?)");
        insert->bind(1, session.session_id);
        insert->bind(2, session.model);
        insert->bind(3, session.created_ms);
        insert->bind(4, session.plan_json);
        insert->bind(5, session.progress_json);
        insert->bind(6, session.findings_json);
        insert->exec();
        return {};
    });
}

Result<std::vector<QualitySession>> SqliteStore::list_sessions() {
    return connection_->guarded([&]() -> Result<std::vector<QualitySession>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT session_id, model, created_ms, plan, progress, findings "
                                 "FROM quality_sessions ORDER BY created_ms DESC, session_id "
                                 "LIMIT ?");
        select.bind(1, kSessionsListedMax);
        std::vector<QualitySession> sessions;
        while (select.executeStep())
            sessions.push_back({.session_id = select.getColumn(0).getString(),
                                .model = select.getColumn(1).getString(),
                                .created_ms = select.getColumn(2).getInt64(),
                                .plan_json = select.getColumn(3).getString(),
                                .progress_json = select.getColumn(4).getString(),
                                .findings_json = select.getColumn(5).getString()});
        return sessions;
    });
}

Result<void> SqliteStore::keep_picture(const QualityPicture& picture) {
    return connection_->guarded([&]() -> Result<void> {
        Prepared insert = connection_->prepared(
            "INSERT OR REPLACE INTO quality_pictures (session_id, candidate, block, picture) "
            "VALUES (?, ?, ?, ?)");
        insert->bind(1, picture.session_id);
        insert->bind(2, picture.candidate);
        insert->bind(3, picture.block);
        insert->bind(4, picture.picture_json);
        insert->exec();
        return {};
    });
}

Result<std::vector<QualityPicture>> SqliteStore::list_pictures(std::string_view session_id) {
    return connection_->guarded([&]() -> Result<std::vector<QualityPicture>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT candidate, block, picture FROM quality_pictures WHERE "
                                 "session_id = ? ORDER BY candidate, block");
        select.bind(1, std::string(session_id));
        std::vector<QualityPicture> pictures;
        while (select.executeStep())
            pictures.push_back({.session_id = std::string(session_id),
                                .candidate = select.getColumn(0).getInt64(),
                                .block = select.getColumn(1).getInt64(),
                                .picture_json = select.getColumn(2).getString()});
        return pictures;
    });
}

Result<void> SqliteStore::keep_vote(const QualityVote& vote) {
    return connection_->guarded([&]() -> Result<void> {
        Prepared insert = connection_->prepared(
            "INSERT OR REPLACE INTO quality_votes (vote_id, session_id, voted_ms, vote) "
            "VALUES (?, ?, ?, ?)");
        insert->bind(1, vote.vote_id);
        insert->bind(2, vote.session_id);
        insert->bind(3, vote.voted_ms);
        insert->bind(4, vote.vote_json);
        insert->exec();
        return {};
    });
}

Result<std::vector<QualityVote>> SqliteStore::list_votes(std::string_view session_id) {
    return connection_->guarded([&]() -> Result<std::vector<QualityVote>> {
        SQLite::Statement select(connection_->database,
                                 "SELECT vote_id, voted_ms, vote FROM quality_votes WHERE "
                                 "session_id = ? ORDER BY voted_ms, vote_id");
        select.bind(1, std::string(session_id));
        std::vector<QualityVote> votes;
        while (select.executeStep())
            votes.push_back({.vote_id = select.getColumn(0).getString(),
                             .session_id = std::string(session_id),
                             .voted_ms = select.getColumn(1).getInt64(),
                             .vote_json = select.getColumn(2).getString()});
        return votes;
    });
}

}  // namespace plimsoll::history
