// SPDX-License-Identifier: Apache-2.0
//
// The JSON of quality sessions, votes and pairs. Fields as in docs/openapi.yaml.
//
// Leaves through: json::object.   Threads: no shared state.
#pragma once
#include "base/json.h"
#include "history/quality_session.h"
#include "service/quality/look.h"
#include "service/quality/quality_lab.h"
#include "service/quality/score.h"

#include <string>
#include <vector>

namespace plimsoll::wire {

[[nodiscard]] json::object encode_quality(const service::QualityView& view);
[[nodiscard]] json::object encode_quality_sessions(
    const std::vector<history::QualitySession>& sessions);
// What a test would be, before it is begun.
[[nodiscard]] json::object encode_quality_plan(const quality::SessionPlan& plan);
[[nodiscard]] json::object encode_mark(const service::DefectMark& mark);
[[nodiscard]] json::object encode_pairs(const std::string& session_id,
                                        const service::PairList& pairs);
[[nodiscard]] json::object encode_ballots(const std::string& session_id,
                                          const std::vector<service::KeptBallot>& ballots);
// A test that waits to be accepted: what it would draw, and what that takes at most.
[[nodiscard]] json::object encode_proposal(const service::QualityView& view);
[[nodiscard]] json::object encode_proposals(const std::vector<service::QualityView>& views);
[[nodiscard]] json::object encode_score(const service::QualityScore& score);
[[nodiscard]] json::object encode_pair(const service::BlindPair& pair);
[[nodiscard]] json::object encode_votes(const std::string& session_id,
                                        const service::VoteCount& count);

}  // namespace plimsoll::wire
