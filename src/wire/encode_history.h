// SPDX-License-Identifier: Apache-2.0
//
// What the history is asked beside its lists: trends, two runs side by side, everything as lines of
// JSON or CSV, and care for the file. Fields as in docs/openapi.yaml.
//
// Enters through: results of service and history.   Leaves through: json::object, text.   Threads:
// no shared state.
#pragma once
#include "base/json.h"
#include "history/care.h"
#include "history/run.h"
#include "service/retention.h"
#include "service/trends.h"
#include "timing/pace.h"

#include <string>
#include <string_view>
#include <vector>

namespace plimsoll::wire {

[[nodiscard]] json::object encode_paces(std::string_view card, const timing::Paces& paces);
[[nodiscard]] json::object encode_stats_group(const history::RunStats& group, std::string_view key);
[[nodiscard]] json::object encode_trends(std::string_view by,
                                         const std::vector<service::Trend>& trends);

// Both runs, and every field in which they differ; of numbers the change from left to right.
[[nodiscard]] json::object encode_comparison(const history::RunRecord& left,
                                             const history::RunRecord& right);

// The header line, and a run as a line (RFC 4180, ended by CR LF). Text that a spreadsheet would
// take for a formula has an apostrophe in front, as spreadsheets themselves write it.
[[nodiscard]] std::string csv_head();
[[nodiscard]] std::string csv_line(const history::RunRecord& run);
// A run as one line of JSON.
[[nodiscard]] std::string json_line(const history::RunRecord& run);

[[nodiscard]] json::object encode_backup(const std::string& path,
                                         const history::BackupReport& report);
[[nodiscard]] json::object encode_check(const std::string& path,
                                        const history::CheckReport& report);
[[nodiscard]] json::object encode_restore(const history::RestoreReport& report);
[[nodiscard]] json::object encode_retention(const service::RetentionReport& report);

}  // namespace plimsoll::wire
