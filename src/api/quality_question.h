// SPDX-License-Identifier: Apache-2.0
//
// What the routes of quality tests read out of paths and bodies.
//
// Threads: any.
#pragma once
#include "api/answer.h"
#include "api/routes.h"
#include "base/error.h"
#include "base/json.h"
#include "service/quality/order.h"
#include "service/quality/votes.h"

#include <expected>
#include <functional>
#include <span>
#include <string>
#include <string_view>

namespace plimsoll::api {

// A body as what it says, or the refusal that answers it.
template <class T>
using Read = std::expected<T, Answer>;

[[nodiscard]] Read<service::QualityOrder> read_order(const std::string& body);
[[nodiscard]] Read<service::Ballot> read_ballot(const std::string& body);
// {"ballots": [...]}: each as read_ballot's, or as it was listed, with votedMs.
[[nodiscard]] Read<std::vector<service::Ballot>> read_ballots(const std::string& body);

// An unknown session's error lists the known ones.
[[nodiscard]] Answer answer_session_error(Call& call, const Error& error);
// The session's id from the path, in lower case.
[[nodiscard]] Answer with_session(Call& call, const std::function<Answer(const std::string&)>& use);
// ... and the picture's candidate and block.
[[nodiscard]] Answer with_cell(
    Call& call, const std::function<Answer(const std::string&, const quality::Cell&)>& use);

}  // namespace plimsoll::api
