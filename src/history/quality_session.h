// SPDX-License-Identifier: Apache-2.0
//
// What history keeps of quality sessions: each with its plan and progress, its pictures, and votes
// between them. What stands in the JSON is quality's and the service's. Plain values.
#pragma once
#include <cstdint>
#include <string>

namespace plimsoll::history {

struct QualitySession {
    std::string session_id;  // unique: writing it again replaces
    std::string model;       // as asked for
    std::int64_t created_ms = 0;
    std::string plan_json;      // fixed
    std::string progress_json;  // what changes
    std::string findings_json;  // what it found out, an array; "[]" until then
    friend bool operator==(const QualitySession&, const QualitySession&) = default;
};

struct QualityPicture {
    std::string session_id;
    std::int64_t candidate = 0;
    std::int64_t block = 0;    // unique with the two above: writing it again replaces
    std::string picture_json;  // state, prompt id, what was measured
    friend bool operator==(const QualityPicture&, const QualityPicture&) = default;
};

struct QualityVote {
    std::string vote_id;  // unique: the same vote twice counts once
    std::string session_id;
    std::int64_t voted_ms = 0;
    std::string vote_json;
    friend bool operator==(const QualityVote&, const QualityVote&) = default;
};

inline constexpr int kSessionsListedMax = 200;  // chosen: the newest

}  // namespace plimsoll::history
