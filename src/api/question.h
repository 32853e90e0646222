// SPDX-License-Identifier: Apache-2.0
//
// From a request's bytes to a job, where it would run and within which limits.
//
// Enters through: Call.   Leaves through: Asked, JobOrder, or the answer that says what is wrong.
// Threads: any.
#pragma once
#include "api/routes.h"
#include "service/job.h"
#include "service/job_queue.h"
#include "service/place.h"
#include "wire/decode.h"

#include <cstdint>
#include <expected>
#include <string>

namespace plimsoll::api {

struct Asked {
    wire::Question question;
    service::Job job;
    service::Where where;
};
[[nodiscard]] std::expected<Asked, Answer> resolve(Call& call, const service::Place& place,
                                                   std::uint32_t fields);

// The body alone, strictly.
[[nodiscard]] std::expected<wire::Question, Answer> decode(const std::string& body,
                                                           std::uint32_t fields);

// What POST /api/generate asks for; also for requests that were kept over a stop.
[[nodiscard]] std::expected<service::JobOrder, Answer> resolve_order(App& app,
                                                                     const service::Place& place,
                                                                     const std::string& body);

}  // namespace plimsoll::api
