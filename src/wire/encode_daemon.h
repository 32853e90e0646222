// SPDX-License-Identifier: Apache-2.0
//
// The JSON of what only a daemon answers: jobs, telemetry, cards, models, statistics, the four
// questions about settings. Fields as in docs/openapi.yaml.
//
// Enters through: results of service and history.   Leaves through: json::object.   Threads: no
// shared state.
#pragma once
#include "advisor/resource_manager.h"
#include "base/json.h"
#include "history/run.h"
#include "service/job_queue.h"
#include "service/lookout.h"
#include "timing/cards.h"

#include <optional>
#include <span>
#include <string>
#include <vector>

namespace plimsoll::wire {

[[nodiscard]] json::object encode_job(const service::QueuedJob& job);
// With its plan; null before there is one.
[[nodiscard]] json::object encode_job_detail(const service::QueuedJob& job);
[[nodiscard]] json::object encode_jobs(const std::vector<service::QueuedJob>& jobs);

struct Telemetry {
    const service::CardSample& sample;
    Bytes load_line;
    std::vector<memory::Residency> holdings;
    std::optional<std::string> job_id;  // the one that runs
};
[[nodiscard]] json::object encode_device(const Telemetry& telemetry);
[[nodiscard]] json::object encode_telemetry(const Telemetry& telemetry);

[[nodiscard]] json::object encode_cards(std::span<const timing::Card> cards);
[[nodiscard]] json::object encode_stats(const history::RunStats& total, std::string_view by,
                                        const std::vector<history::RunStats>& groups,
                                        bool newest_only);

[[nodiscard]] json::object encode_optimal(const advisor::Optimal& optimal);
[[nodiscard]] json::object encode_safety(const advisor::Safety& safety);
[[nodiscard]] json::object encode_summary(const advisor::Settings& settings,
                                          const advisor::Summary& summary);
[[nodiscard]] json::object encode_best(const std::optional<advisor::Settings>& settings);

}  // namespace plimsoll::wire
